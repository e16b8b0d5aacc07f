import { storeError } from '../errors.js'
import { copyTree } from '../fs/copy-tree.js'
import { HostFs } from '../fs/host-fs.js'
import type { HostFsSpec } from '../fs/spec.js'
import type { Pace } from './pace.js'

/**
 * Copies a whole tree into an empty directory, with all that a layer can hold. Failure and durability are as in an unpack.
 * Progress counts bytes of regular files.
 */
export interface CopyTreeJob {
  readonly kind: 'copyTree'
  readonly from: HostFsSpec
  readonly to: HostFsSpec
}

export interface CopyTreeResult {
  /** Bytes of regular files. */
  readonly size: number
}

export function copyTreeOf(job: CopyTreeJob, pace: Pace): CopyTreeResult {
  let size = 0
  using from = new HostFs({ ...job.from, readOnly: true })
  using to = new HostFs(job.to)
  try {
    copyTree(from, to, (bytes) => {
      pace.check()
      pace.progress((size += bytes))
    })
    return { size }
  } catch (error) {
    throw storeError(error, 'SYSTEM', `could not copy ${job.from.root}`)
  }
}
