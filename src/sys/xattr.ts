import { checked, errnoName } from './errno.js'
import { bind, cString, lastErrno, passingCString, type HostPath } from './libc.js'

/**
 * Extended attributes of the object itself: symlinks are not followed. Names and values are bytes. Functions that begin
 * with `f` do the same for an open file.
 */

const get = bind('long lgetxattr(const void *path, const void *name, void *value, size_t size)')
const list = bind('long llistxattr(const void *path, void *list, size_t size)')
const set = bind(
  'int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)',
)
const remove = bind('int lremovexattr(const void *path, const void *name)')
const getOpen = bind('long fgetxattr(int fd, const void *name, void *value, size_t size)')
const listOpen = bind('long flistxattr(int fd, void *list, size_t size)')
const setOpen = bind('int fsetxattr(int fd, const void *name, const void *value, size_t size, int flags)')
const removeOpen = bind('int fremovexattr(int fd, const void *name)')

const FLAGS = { create: 1, replace: 2 } as const
/** Most values fit; a longer one costs a second call. XATTR_SIZE_MAX is 64 KiB. */
const scratch = Buffer.allocUnsafeSlow(4096)
const MAX = 65536
const NOTHING = Buffer.alloc(0)

/** Returns `undefined` if the attribute does not exist, or the file system has no xattrs. */
export function lgetxattr(path: HostPath, name: HostPath): Buffer | undefined {
  return sized((buffer) => get(passingCString(path), cString(name), buffer, buffer.length), 'getxattr', path)
}

/** Empty if the file system has no xattrs. */
export function llistxattr(path: HostPath): Buffer[] {
  const names = sized((buffer) => list(passingCString(path), buffer, buffer.length), 'listxattr', path)
  return names === undefined ? [] : splitNames(names)
}

export function lsetxattr(
  path: HostPath,
  name: HostPath,
  value: Uint8Array,
  flag?: keyof typeof FLAGS,
): void {
  const flags = flag === undefined ? 0 : FLAGS[flag]
  checked(
    set(passingCString(path), cString(name), value.length === 0 ? null : value, value.length, flags),
    'setxattr',
    path,
  )
}

/** Throws `ENODATA` if the attribute does not exist. */
export function lremovexattr(path: HostPath, name: HostPath): void {
  checked(remove(passingCString(path), cString(name)), 'removexattr', path)
}

export function fgetxattr(fd: number, name: HostPath): Buffer | undefined {
  return sized((buffer) => getOpen(fd, cString(name), buffer, buffer.length), 'fgetxattr')
}

export function flistxattr(fd: number): Buffer[] {
  const names = sized((buffer) => listOpen(fd, buffer, buffer.length), 'flistxattr')
  return names === undefined ? [] : splitNames(names)
}

export function fsetxattr(fd: number, name: HostPath, value: Uint8Array, flag?: keyof typeof FLAGS): void {
  const flags = flag === undefined ? 0 : FLAGS[flag]
  checked(setOpen(fd, cString(name), value.length === 0 ? null : value, value.length, flags), 'fsetxattr')
}

export function fremovexattr(fd: number, name: HostPath): void {
  checked(removeOpen(fd, cString(name)), 'fremovexattr')
}

/** Whether the file system of `path` supports the xattr namespace of `name`. */
export function keepsXattr(path: HostPath, name: HostPath): boolean {
  if (get(passingCString(path), cString(name), scratch, scratch.length) >= 0) return true
  return !['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS'].includes(errnoName(lastErrno()) ?? '')
}

function sized(call: (buffer: Buffer) => number, syscall: string, path?: HostPath): Buffer | undefined {
  const length = call(scratch)
  if (length === 0) return NOTHING
  if (length > 0) return Buffer.from(scratch.subarray(0, length))
  const code = errnoName(lastErrno())
  if (code === 'ENODATA' || code === 'EOPNOTSUPP' || code === 'ENOTSUP') return undefined
  if (code !== 'ERANGE') checked(length, syscall, path)
  const large = Buffer.allocUnsafe(MAX)
  return large.subarray(0, checked(call(large), syscall, path))
}

function splitNames(names: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let start = 0; start < names.length;) {
    const end = names.indexOf(0, start)
    found.push(names.subarray(start, end))
    start = end + 1
  }
  return found
}
