import { isErrno } from '../errors.js'
import { LAST_PLACE, searchTree } from './btrfs-search.js'
import { ioctl, request, withDirectory } from './ioctl.js'
import type { HostPath } from './libc.js'

const QGROUP_CREATE = request('write', 0x94, 42, 16)
const QGROUP_LIMIT = request('read', 0x94, 43, 48)
const MAX_REFERENCED = 1n
const QUOTA_TREE = 8n
const STATUS = { object: 0n, type: 240, offset: 0n }

/** Whether the file system counts what its subvolumes take. Needs CAP_SYS_ADMIN. */
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

/** The most bytes that a subvolume may refer to, what it shares with others included. */
export function limitSubvolume(path: HostPath, bytes: bigint): void {
  const args = Buffer.alloc(48)
  args.writeBigUInt64LE(MAX_REFERENCED, 8)
  args.writeBigUInt64LE(bytes, 16)
  withDirectory(path, (fd) => ioctl(fd, QGROUP_LIMIT, args, 'BTRFS_IOC_QGROUP_LIMIT', path))
}

/** Removes the group of a subvolume that was destroyed. A kernel that does so itself is busy with it until then. */
export function removeQgroup(path: HostPath, subvolume: bigint): void {
  const args = Buffer.alloc(16)
  args.writeBigUInt64LE(subvolume, 8)
  try {
    withDirectory(path, (fd) => ioctl(fd, QGROUP_CREATE, args, 'BTRFS_IOC_QGROUP_CREATE', path))
  } catch (error) {
    if (!isErrno(error, 'EBUSY', 'ENOENT', 'ENOTCONN', 'EINVAL')) throw error
  }
}
