import { closeSync, fstatSync, lstatSync, openSync, writeSync } from 'node:fs'
import { storeError } from '../../errors.js'
import type { ByteString } from '../../fs/bytes.js'
import { copyTree } from '../../fs/trees/copy-tree.js'
import { encodeCopyRecord } from '../../fs/trees/evidence.js'
import { HostFs } from '../../fs/host/host-fs.js'
import type { HostFsSpec } from '../../fs/spec.js'
import type { Pace } from './pace.js'

/**
 * Copies a whole tree into an empty directory, with everything that a layer can hold. Failure and durability are as in
 * an unpack. Progress counts bytes of regular files.
 */
export interface CopyTreeJob {
  readonly kind: 'copyTree'
  readonly from: HostFsSpec
  /** Its root must be newly made. */
  readonly to: HostFsSpec
  /** Writes a `CopyRecord` to this new file, which must be on the file system of the copy. */
  readonly record?: { readonly file: string; readonly parent: string }
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
    const fromNs = lstatSync(job.to.root, { bigint: true }).ctimeNs
    const directories = copyTree(from, to, (bytes) => {
      pace.check()
      pace.progress((size += bytes))
    })
    if (job.record !== undefined) writeRecord(job.record, fromNs, directories)
    return { size }
  } catch (error) {
    throw storeError(error, 'SYSTEM', `could not copy ${job.from.root}`)
  }
}

/** The new file's change time marks the end of the copy, by the same clock that sets the times of later changes. */
function writeRecord(
  { file, parent }: NonNullable<CopyTreeJob['record']>,
  fromNs: bigint,
  directories: ReadonlyMap<ByteString, bigint>,
): void {
  const fd = openSync(file, 'wx', 0o600)
  try {
    const untilNs = fstatSync(fd, { bigint: true }).ctimeNs
    writeSync(fd, encodeCopyRecord({ parent, fromNs, untilNs, directories }))
  } finally {
    closeSync(fd)
  }
}
