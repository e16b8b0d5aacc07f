import { basename, dirname } from 'node:path'
import { isErrno } from '../../../errors.js'
import { removeQgroup } from '../../../sys/btrfs-quota.js'
import {
  destroySubvolume,
  isSubvolume,
  makeWritable,
  subvolumeInfo,
  type SubvolumeInfo,
  withNestedSubvolumes,
} from '../../../sys/btrfs-subvolume.js'
import { discard } from '../../trash.js'

/**
 * Removes a subvolume, the subvolumes nested in it, and its qgroup. If the kernel does not let an ordinary user destroy
 * subvolumes, empties it and removes it as a directory.
 */
export async function removeSubvolume(path: string): Promise<void> {
  if (!isSubvolume(path)) return discard(path)
  const directory = dirname(path)
  let info: SubvolumeInfo
  try {
    info = subvolumeInfo(path)
    const { madeAt, changedAt } = info
    // Destroying a subvolume waits for its pending writes. One that was written to may have some.
    await destroySubvolume(directory, Buffer.from(basename(path)), { elsewhere: changedAt >= madeAt })
  } catch (error) {
    // Another process destroyed part of it.
    if (isErrno(error, 'ENOENT')) return removeSubvolume(path)
    if (!isErrno(error, 'EPERM', 'EACCES')) throw error
    return empty(path)
  }
  try {
    removeQgroup(directory, info.id)
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error
  }
}

async function empty(path: string): Promise<void> {
  makeWritable(path)
  await withNestedSubvolumes(path, (parent, name) => removeSubvolume(`${parent}/${name.toString()}`))
  await discard(path)
}
