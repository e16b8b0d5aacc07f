import { checked, errnoName } from './errno.js'
import { bind, cString, lastErrno, type HostPath } from './libc.js'

const mountCall = bind(
  'int mount(const void *source, const void *target, const void *type, ulong flags, const void *data)',
)
const umountCall = bind('int umount2(const void *target, int flags)')

/** The same values as `MOUNT_ATTR_*` of fsmount(2). */
export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
const MS_REMOUNT = 32
const MNT_DETACH = 2
/** Do not follow a symlink at the target to another mount. */
const UMOUNT_NOFOLLOW = 8

export interface MountOptions {
  readonly source: string
  readonly type: string
  /** `MS_*` */
  readonly flags?: number
  /** The file system's own options, comma-separated; the kernel accepts less than one page. */
  readonly data?: string
}

export function mount(target: HostPath, { source, type, flags = 0, data }: MountOptions): void {
  const options = data === undefined ? null : cString(data)
  checked(mountCall(cString(source), cString(target), cString(type), flags, options), 'mount', target)
}

/**
 * Makes the mounted file system permanently read-only, in all its mounts. Returns `false` and changes nothing while a
 * file on it is open for writing. Also returns `true` if nothing is mounted, or if this process may not remount.
 */
export function makeReadOnly(target: HostPath): boolean {
  // A remount replaces the mount's flags; these are at least as strict as the current ones.
  const flags = MS_REMOUNT | MS_RDONLY | MS_NODEV | MS_NOSUID
  return mountCall(null, cString(target), null, flags, null) === 0 || errnoName(lastErrno()) !== 'EBUSY'
}

/**
 * Detaches the mount at once; it ends when its last user is done.
 * @returns whether a mount existed
 */
export function unmountIfMounted(target: HostPath): boolean {
  if (umountCall(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW) === 0) return true
  if (['EINVAL', 'ENOENT'].includes(errnoName(lastErrno()))) return false
  checked(-1, 'umount2', target)
  return false
}
