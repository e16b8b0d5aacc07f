import { checked } from './errno.js'
import { bind, cString, type HostPath } from './libc.js'

const syscall = bind('long syscall(long number, int dir, const void *path, const void *how, size_t size)')

/** The same number on every architecture. */
const SYS_OPENAT2 = 437
export const RESOLVE_NO_MAGICLINKS = 0x02
export const RESOLVE_NO_SYMLINKS = 0x04
export const RESOLVE_BENEATH = 0x08
export const RESOLVE_IN_ROOT = 0x10
export const O_PATH = 0o10000000
export const O_CLOEXEC = 0o2000000

const how = Buffer.alloc(24)

/** Opens `path` relative to the directory `dir`, resolved as `resolve` (`RESOLVE_*`) says. Linux 5.6. */
export function openat2(dir: number, path: HostPath, flags: number, resolve: number, mode = 0): number {
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0)
  how.writeBigUInt64LE(BigInt(mode), 8)
  how.writeBigUInt64LE(BigInt(resolve), 16)
  return checked(Number(syscall(SYS_OPENAT2, dir, cString(path), how, how.length)), 'openat2', path)
}
