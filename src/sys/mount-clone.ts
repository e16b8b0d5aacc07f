import { closeSync } from 'node:fs'
import { errnoName } from './errno.js'
import { bindSyscall, cString, lastErrno, libcAvailable, type HostPath } from './libc.js'

const openTree = bindSyscall(428, 'int dir, const void *path, uint flags')
const setAttributes = bindSyscall(
  442,
  'int dir, const void *path, uint flags, const void *attributes, size_t size',
)

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const OPEN_TREE_CLONE = 1
const OPEN_TREE_CLOEXEC = 0o2000000
const MOUNT_ATTR_RDONLY = 1n
const MOUNT_ATTR_NODEV = 4n
const MS_PRIVATE = 1n << 18n

/** The kernel lacks the calls, or this process may not make them. */
let refused = false

/**
 * Returns a descriptor of `directory` in a private mount, with nothing mounted below it. Path lookups from the
 * descriptor see what lies under every mount point. Devices cannot be opened through it. The mount ends with the
 * descriptor.
 *
 * Returns `undefined` if the kernel refuses or `directory` does not exist. Needs CAP_SYS_ADMIN and Linux 5.12.
 */
export function cloneMount(
  directory: HostPath,
  { readOnly }: { readonly readOnly: boolean },
): number | undefined {
  if (refused || !libcAvailable().works) return undefined
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW
  const fd = openTree(AT_FDCWD, cString(directory), flags)
  if (fd < 0) {
    refused = ['EPERM', 'ENOSYS'].includes(errnoName(lastErrno()))
    return undefined
  }
  // Private: a mount made on the original does not propagate to the clone.
  const attributes = Buffer.alloc(32)
  attributes.writeBigUInt64LE(MOUNT_ATTR_NODEV | (readOnly ? MOUNT_ATTR_RDONLY : 0n), 0)
  attributes.writeBigUInt64LE(MS_PRIVATE, 16)
  if (setAttributes(fd, cString(''), AT_EMPTY_PATH, attributes, attributes.length) === 0) return fd
  closeSync(fd)
  refused = true
  return undefined
}
