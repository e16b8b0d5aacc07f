import { isErrno } from '../errors.js'
import { checked } from './errno.js'
import { bindSyscall, cString, type HostPath } from './libc.js'

const renameat2 = bindSyscall(
  { x64: 316, others: 276 },
  'int fromDir, const void *from, int toDir, const void *to, uint flags',
)

const AT_FDCWD = -100
const RENAME_EXCHANGE = 2
const RENAME_WHITEOUT = 4

/** Atomically exchanges two paths. Returns `false` and does nothing if the system does not support this. */
export function renameExchange(from: HostPath, to: HostPath): boolean {
  return rename(from, to, RENAME_EXCHANGE)
}

/** Like rename(2), but atomically leaves a whiteout at `from`. Returns `false` and does nothing if unsupported. */
export function renameLeavingWhiteout(from: HostPath, to: HostPath): boolean {
  return rename(from, to, RENAME_WHITEOUT)
}

function rename(from: HostPath, to: HostPath, flags: number): boolean {
  try {
    checked(renameat2(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags), 'renameat2', from, to)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOSYS', 'EINVAL', 'EPERM', 'EOPNOTSUPP', 'ENOTSUP')) return false
    throw error
  }
}
