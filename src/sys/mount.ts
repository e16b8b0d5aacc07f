import { checked, errnoName } from './errno.js'
import { bind, cString, lastErrno, type HostPath } from './libc.js'

const mountCall = bind(
  'int mount(const void *source, const void *target, const void *type, ulong flags, const void *data)',
)
const umountCall = bind('int umount2(const void *target, int flags)')

export const MS_RDONLY = 1
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_BIND = 4096
const MNT_DETACH = 2

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

/** Takes the mount out of the tree at once; it ends when its last user is gone. */
export function unmount(target: HostPath): void {
  checked(umountCall(cString(target), MNT_DETACH), 'umount2', target)
}

/** As `unmount`; tells whether there was a mount. */
export function unmountIfMounted(target: HostPath): boolean {
  if (umountCall(cString(target), MNT_DETACH) === 0) return true
  if (['EINVAL', 'ENOENT'].includes(errnoName(lastErrno()))) return false
  checked(-1, 'umount2', target)
  return false
}
