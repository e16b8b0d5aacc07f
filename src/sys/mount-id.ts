import { bindSyscall, libcAvailable } from './libc.js'

const statx = bindSyscall(
  { x64: 332, others: 291 },
  'int dir, const void *path, int flags, uint mask, void *result',
)

const AT_EMPTY_PATH = 0x1000
const STATX_MNT_ID = 0x1000
/** Size and offsets of `struct statx`. */
const SIZE = 256
const MASK_OFFSET = 0
const MOUNT_ID_OFFSET = 144

const EMPTY = Buffer.alloc(1)
const result = Buffer.alloc(SIZE)

/**
 * Returns the ID of the mount that an open file is on. `fstat` cannot tell: two mounts of one file system have the same
 * device. `undefined` without koffi and before Linux 5.8.
 */
export function mountIdOf(fd: number): bigint | undefined {
  if (!libcAvailable().works) return undefined
  if (statx(fd, EMPTY, AT_EMPTY_PATH, STATX_MNT_ID, result) !== 0) return undefined
  if ((result.readUInt32LE(MASK_OFFSET) & STATX_MNT_ID) === 0) return undefined
  return result.readBigUInt64LE(MOUNT_ID_OFFSET)
}
