import { checked, errnoName } from './errno.js'
import { bind, bindSyscall, lastErrno } from './libc.js'

const ioctl = bind('int ioctl(int fd, ulong request, int source)')
const copy = bindSyscall(
  { x64: 326, others: 285 },
  'int from, void *fromOffset, int to, void *toOffset, size_t length, uint flags',
)

const FICLONE = 0x40049409
const offsets = Buffer.allocUnsafeSlow(16)

/** Shares all blocks of one file with another. Returns whether the file system did so. */
export function ficlone(from: number, to: number): boolean {
  if (ioctl(to, FICLONE, from) === 0) return true
  if (
    ['EOPNOTSUPP', 'ENOTSUP', 'EXDEV', 'EINVAL', 'ENOTTY', 'ETXTBSY', 'EPERM'].includes(
      errnoName(lastErrno()),
    )
  )
    return false
  checked(-1, 'ioctl FICLONE')
  return false
}

/**
 * Copies at most `length` bytes at `position` to the same position, inside the kernel.
 * @returns bytes copied, 0 at the end of the file, or `undefined` if the kernel cannot copy between these files
 */
export function copyFileRange(
  from: number,
  to: number,
  position: number,
  length: number,
): number | undefined {
  offsets.writeBigInt64LE(BigInt(position), 0)
  offsets.writeBigInt64LE(BigInt(position), 8)
  const copied = Number(copy(from, offsets.subarray(0, 8), to, offsets.subarray(8), length, 0))
  if (copied >= 0) return copied
  if (['EXDEV', 'EINVAL', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EPERM'].includes(errnoName(lastErrno())))
    return undefined
  return checked(copied, 'copy_file_range')
}
