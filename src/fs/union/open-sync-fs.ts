import { HostFs } from '../host/host-fs.js'
import type { SyncFs } from '../sync-fs.js'
import type { SyncFsSpec } from '../spec.js'
import { UnionFs } from './union-fs.js'

/** Opens the filesystem that a spec describes. The caller closes it. */
export function openSyncFs(spec: SyncFsSpec): SyncFs {
  switch (spec.kind) {
    case 'host':
      return new HostFs(spec)
    case 'union':
      return new UnionFs(spec)
  }
}
