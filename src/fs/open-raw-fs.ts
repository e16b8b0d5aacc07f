import { HostFs } from './host-fs.js'
import type { RawFs } from './raw-fs.js'
import type { RawFsSpec } from './spec.js'
import { UnionFs } from './union-fs.js'

/** Opens a filesystem that is described as data. The caller closes it. */
export function openRawFs(spec: RawFsSpec): RawFs {
  switch (spec.kind) {
    case 'host':
      return new HostFs(spec)
    case 'union':
      return new UnionFs(spec)
  }
}
