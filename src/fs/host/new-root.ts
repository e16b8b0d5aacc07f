import { lchownSync, lstatSync } from 'node:fs'
import { dropAcls } from '../../sys/acl.js'
import type { ByteString } from '../bytes.js'
import type { HostFs } from './host-fs.js'

const ROOT = '' as ByteString

/**
 * Makes a new, empty directory the root of a tree: owned by root, 0755, without ACLs. The umask, and a set-group-ID bit or
 * a default ACL of the directory that it was made in, leave no trace in the tree.
 */
export function settleNewRoot(fs: HostFs): void {
  dropInherited(fs)
  fs.chown(ROOT, 0, 0)
  fs.chmod(ROOT, 0o755)
}

/** Removes what a new root got from the directory above it, for roots that get owner and mode from elsewhere. */
export function dropInherited({ hostPath, spec }: HostFs): void {
  dropAcls(hostPath)
  if ((spec.attributes ?? 'native') !== 'native') takeOwnGroup(hostPath)
}

/** Kept-aside owners default to those of the root directory, so it gets the group that this process gives new files. */
function takeOwnGroup(root: string): void {
  const { gid } = lstatSync(root)
  const own = process.getegid?.() ?? gid
  if (gid !== own) lchownSync(root, -1, own)
}
