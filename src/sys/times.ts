import { checked } from './errno.js'
import { bind, passingCString, type HostPath } from './libc.js'

const utimensatCall = bind('int utimensat(int dir, const void *path, const void *times, int flags)')
const futimensCall = bind('int futimens(int fd, const void *times)')

const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const UTIME_OMIT = (1n << 30n) - 2n
const BILLION = 1_000_000_000n
const times = Buffer.allocUnsafeSlow(32)

/** Sets times to the nanosecond, without following a symlink. `undefined` leaves that time unchanged. */
export function utimensat(path: HostPath, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  checked(
    utimensatCall(AT_FDCWD, passingCString(path), pack(atimeNs, mtimeNs), AT_SYMLINK_NOFOLLOW),
    'utimensat',
    path,
  )
}

export function futimens(fd: number, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  checked(futimensCall(fd, pack(atimeNs, mtimeNs)), 'futimens')
}

function pack(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): Buffer {
  packOne(0, atimeNs)
  packOne(16, mtimeNs)
  return times
}

/** A `struct timespec`; its nanoseconds are never negative. */
function packOne(offset: number, ns: bigint | undefined): void {
  const rest = ns === undefined ? UTIME_OMIT : ((ns % BILLION) + BILLION) % BILLION
  times.writeBigInt64LE(ns === undefined ? 0n : (ns - rest) / BILLION, offset)
  times.writeBigInt64LE(rest, offset + 8)
}
