import type { SyncFs } from '../../fs/sync-fs.js'
import { HostFs } from '../../fs/host/host-fs.js'
import type { HostFsSpec } from '../../fs/spec.js'
import type { ApplyTarget } from '../../tar/apply.js'
import { flattenedTree } from '../../tar/flattened-tree.js'
import { commitLayer, type CommitTimes } from './commit.js'
import type { LayerResult, LayerSinks } from './layer-intake.js'
import type { Pace } from './pace.js'
import type { RecordEnd } from '../record/record-notes.js'

/**
 * Merges a stack of layers, lowest first, into one layer that needs no other. Failure and durability are as in an
 * unpack. Progress counts bytes of the new layer's tar.
 */
export interface FlattenJob extends LayerSinks, Pick<CommitTimes, 'clampMtimeNs'> {
  readonly kind: 'flatten'
  readonly layers: readonly { readonly splitFile: string; readonly contents: HostFsSpec }[]
  readonly target: ApplyTarget
}

/** A {@link FlattenJob} whose trees may be filesystems of this thread. */
export interface Flattening extends LayerSinks, Pick<CommitTimes, 'clampMtimeNs'> {
  readonly layers: readonly { readonly splitFile: string; readonly contents: HostFsSpec | SyncFs }[]
  /** Connects to another thread that makes the record at the same time. */
  readonly recorder?: RecordEnd | undefined
}

export async function flattenLayers({ layers, ...sinks }: Flattening, pace: Pace): Promise<LayerResult> {
  const opened: HostFs[] = []
  const open = (contents: HostFsSpec | SyncFs): SyncFs => {
    if (!('root' in contents)) return contents
    const fs = new HostFs(contents)
    opened.push(fs)
    return fs
  }
  try {
    const inputs = layers.map(({ splitFile, contents }) => ({ splitFile, contents: open(contents) }))
    const upper = await flattenedTree(inputs, () => pace.yieldIfDue())
    return await commitLayer({ source: { upper }, ...sinks }, pace)
  } finally {
    // The recorder waits for this port to close, even if no layer was recorded.
    sinks.recorder?.port.close()
    for (const fs of opened) fs.close()
  }
}
