import { isErrno } from '../errors.js'
import { LAST_PLACE, searchTree } from './btrfs-search.js'
import { ioctl, request, withDirectory } from './ioctl.js'
import type { HostPath } from './libc.js'

const QGROUP_CREATE = request('write', 0x94, 42, 16)
const QGROUP_LIMIT = request('read', 0x94, 43, 48)
const MAX_REFERENCED = 1n
const QUOTA_TREE = 8n
const STATUS = { object: 0n, type: 240, offset: 0n }

/** Whether the file system accounts for the space of its subvolumes. Needs CAP_SYS_ADMIN; `false` without it. */
export function quotaEnabled(path: HostPath): boolean {
  return withDirectory(path, (fd) => {
    try {
      for (const { type } of searchTree(fd, { tree: QUOTA_TREE, first: STATUS, last: LAST_PLACE }))
        return type === STATUS.type
      return false
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'EPERM')) return false
      throw error
    }
  })
}

/** Limits the bytes that a subvolume may reference, including data shared with other subvolumes. */
export function limitSubvolume(path: HostPath, bytes: bigint): void {
  const args = Buffer.alloc(48)
  args.writeBigUInt64LE(MAX_REFERENCED, 8)
  args.writeBigUInt64LE(bytes, 16)
  withDirectory(path, (fd) => ioctl(fd, QGROUP_LIMIT, args, 'BTRFS_IOC_QGROUP_LIMIT', path))
}

/**
 * Removes the quota group of a destroyed subvolume. A kernel that removes the group itself reports it as busy until
 * then; that error is ignored.
 */
export function removeQgroup(path: HostPath, subvolume: bigint): void {
  const args = Buffer.alloc(16)
  args.writeBigUInt64LE(subvolume, 8)
  try {
    withDirectory(path, (fd) => ioctl(fd, QGROUP_CREATE, args, 'BTRFS_IOC_QGROUP_CREATE', path))
  } catch (error) {
    if (!isErrno(error, 'EBUSY', 'ENOENT', 'ENOTCONN', 'EINVAL')) throw error
  }
}
