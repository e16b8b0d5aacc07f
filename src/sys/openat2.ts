import { checked, errnoName } from './errno.js'
import { bindSyscall, cString, lastErrno, type HostPath } from './libc.js'

const call = bindSyscall(437, 'int dir, const void *path, const void *how, size_t size')

export const RESOLVE_NO_MAGICLINKS = 0x02
export const RESOLVE_NO_SYMLINKS = 0x04
export const RESOLVE_IN_ROOT = 0x10
export const O_PATH = 0o10000000
const O_CLOEXEC = 0o2000000

/** As in runc and libpathrs: more renames than this during one call are an attack. */
const TRIES = 128
const how = Buffer.alloc(24)

/**
 * Opens `path` relative to the directory `dir`, resolved according to `resolve` (`RESOLVE_*`). Needs Linux 5.6. If
 * anything is renamed while the kernel resolves a `..`, it requests a retry, so this retries.
 */
export function openat2(dir: number, path: HostPath, flags: number, resolve: number, mode = 0): number {
  how.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0)
  how.writeBigUInt64LE(BigInt(mode), 8)
  how.writeBigUInt64LE(BigInt(resolve), 16)
  const name = cString(path)
  let fd = call(dir, name, how, how.length)
  for (let tries = 1; fd < 0 && tries < TRIES && errnoName(lastErrno()) === 'EAGAIN'; tries++) {
    fd = call(dir, name, how, how.length)
  }
  return checked(fd, 'openat2', path)
}
