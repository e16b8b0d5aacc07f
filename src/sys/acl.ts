import { libcAvailable, type HostPath } from './libc.js'
import { lgetxattr, lremovexattr } from './xattr.js'

/** Removes both ACLs of a host path, such as those inherited from its parent. A no-op without system calls. */
export function dropAcls(path: HostPath): void {
  if (!libcAvailable().works) return
  for (const name of ['system.posix_acl_default', 'system.posix_acl_access']) {
    if (lgetxattr(path, name) !== undefined) lremovexattr(path, name)
  }
}
