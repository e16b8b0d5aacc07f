import { checked, errnoName } from './errno.js'
import { bind, lastErrno } from './libc.js'

const fcntl = bind('int fcntl(int fd, int command, void *lock)')

const F_OFD_GETLK = 36
const F_OFD_SETLK = 37
const F_WRLCK = 1
const F_UNLCK = 2

/**
 * Locks one byte of a file, which may lie beyond its end, unless another open file description holds it. Returns
 * whether the lock was taken. The lock ends when the descriptor is closed.
 */
export function tryByteLock(fd: number, offset: bigint): boolean {
  if (fcntl(fd, F_OFD_SETLK, range(offset, 1n)) === 0) return true
  if (['EAGAIN', 'EACCES'].includes(errnoName(lastErrno()))) return false
  checked(-1, 'fcntl F_OFD_SETLK')
  return false
}

/** Whether another open file description has locked a byte below `end`, or any byte if `end` is omitted. */
export function hasByteLock(fd: number, end = 0n): boolean {
  const lock = range(0n, end)
  checked(fcntl(fd, F_OFD_GETLK, lock), 'fcntl F_OFD_GETLK')
  return lock.readInt16LE(0) !== F_UNLCK
}

/** `struct flock` of 64-bit systems. A length of 0 means to the end of the file, however large. */
function range(start: bigint, length: bigint): Buffer {
  const lock = Buffer.alloc(32)
  lock.writeInt16LE(F_WRLCK, 0)
  lock.writeBigInt64LE(start, 8)
  lock.writeBigInt64LE(length, 16)
  return lock
}
