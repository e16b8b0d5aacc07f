import type { HostFsSpec, SyncFsSpec } from '../../fs/spec.js'
import type { OpenedLayer } from './opened-layer.js'

/** The layer as a userspace overlay of the directories that the kernel would mount. */
export function unionOf(layer: OpenedLayer, specOf: (directory: string) => HostFsSpec): SyncFsSpec {
  const { diff, work, lowers, readOnly, volatile } = layer
  if (lowers.length === 0) return { ...specOf(diff), readOnly }
  const lowerSpecs = lowers.map((lower) => ({ ...specOf(lower), readOnly: true }))
  return readOnly
    ? { kind: 'union', lowers: [{ ...specOf(diff), readOnly }, ...lowerSpecs] }
    : { kind: 'union', upper: specOf(diff), work, lowers: lowerSpecs, volatile }
}
