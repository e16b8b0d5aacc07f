import { lchownSync, lstatSync } from 'node:fs'
import { dropAcls } from '../../sys/acl.js'
import type { ByteString } from '../bytes.js'
import type { HostFs } from './host-fs.js'

const ROOT = '' as ByteString

/**
 * Makes a new, empty directory the root of a tree: owned by root, 0755, without ACLs. Removes all traces of the umask
 * and of the parent directory's set-group-ID bit and default ACL.
 */
export function prepareNewRoot(fs: HostFs): void {
  dropInherited(fs)
  fs.chown(ROOT, 0, 0)
  fs.chmod(ROOT, 0o755)
}

/** Removes what a new root inherited from its parent directory. For roots whose owner and mode are set elsewhere. */
export function dropInherited({ hostPath, spec }: HostFs): void {
  dropAcls(hostPath)
  if ((spec.attributes ?? 'native') !== 'native') takeOwnGroup(hostPath)
}

/**
 * If attributes are stored outside inodes, the root directory's group shows as root. So the root gets the group that
 * this process gives new files.
 */
function takeOwnGroup(root: string): void {
  const { gid } = lstatSync(root)
  const own = process.getegid?.() ?? gid
  if (gid !== own) lchownSync(root, -1, own)
}
