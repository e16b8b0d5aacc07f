import { checked, errnoName } from './errno.js'
import { bind, cString, lastErrno, type HostPath } from './libc.js'

const mountCall = bind(
  'int mount(const void *source, const void *target, const void *type, ulong flags, const void *data)',
)
const umountCall = bind('int umount2(const void *target, int flags)')

/** The same numbers as `MOUNT_ATTR_*` of fsmount(2). */
export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
const MS_REMOUNT = 32
const MNT_DETACH = 2
/** A symlink at the target is not followed to some other mount. */
const UMOUNT_NOFOLLOW = 8

export interface MountOptions {
  readonly source: string
  readonly type: string
  /** `MS_*` */
  readonly flags?: number
  /** The file system's own options, comma separated; the kernel takes less than a page of them. */
  readonly data?: string
}

export function mount(target: HostPath, { source, type, flags = 0, data }: MountOptions): void {
  const options = data === undefined ? null : cString(data)
  checked(mountCall(cString(source), cString(target), cString(type), flags, options), 'mount', target)
}

/**
 * Makes the mounted file system read-only, in every mount of it and for good. False, and nothing changes, while a file of
 * it is open for writing. True as well where nothing is mounted, or this process may not remount.
 */
export function makeReadOnly(target: HostPath): boolean {
  // A remount replaces the mount's flags: these are at least as strict as the ones it has.
  const flags = MS_REMOUNT | MS_RDONLY | MS_NODEV | MS_NOSUID
  return mountCall(null, cString(target), null, flags, null) === 0 || errnoName(lastErrno()) !== 'EBUSY'
}

/**
 * Takes the mount out of the tree at once; it ends when its last user is gone.
 * @returns whether there was a mount
 */
export function unmountIfMounted(target: HostPath): boolean {
  if (umountCall(cString(target), MNT_DETACH | UMOUNT_NOFOLLOW) === 0) return true
  if (['EINVAL', 'ENOENT'].includes(errnoName(lastErrno()))) return false
  checked(-1, 'umount2', target)
  return false
}
