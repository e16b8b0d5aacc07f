import { ACCESS_ACL, DEFAULT_ACL } from '../fs/host/acl.js'
import { parentOf, type ByteString } from '../fs/bytes.js'
import type { FileType, SyncFs } from '../fs/sync-fs.js'

/** Times of a directory, as they are or were before anything was added to it. */
export interface Times {
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
}

/**
 * What a layer is applied to: the tree to write, and the lower layers' content in it. Paths are real: no component is a
 * symlink of this layer.
 */
export interface ApplyDestination {
  readonly fs: SyncFs

  /**
   * Ensures that `path` is a directory. It gets the attributes of the lower layers' directory if one exists, else
   * root's with 0755. Any other lower object is shadowed. Requires that this layer has nothing at `path` and that its
   * parent exists.
   */
  implyDirectory(path: ByteString): Times
  /**
   * Clears `path` for a new object. Requires that this layer has nothing at `path` and that its parent exists.
   * @returns whether a directory exists that a directory entry merges with
   */
  makeRoom(path: ByteString, type: 'directory' | 'other'): boolean
  /** Call after `makeRoom`, once this layer has made a directory at `path`. */
  newDirectory(path: ByteString): void

  /** Hides what lower layers have at `path`. Hides nothing of this layer. */
  whiteout(path: ByteString): void
  /** Hides what lower layers have in the existing directory at `path`. */
  opaque(path: ByteString): void
  /** Whether lower layers show a directory at `path`. */
  isLowerDirectory(path: ByteString): boolean
  /**
   * Makes a lower layer's object at `path` available for hard links of this layer. It must not be a directory.
   * @returns the object's other names in lower layers, which must be linked too so that they stay together; `undefined`
   *   if no such object exists
   */
  bringUp(path: ByteString): readonly ByteString[] | undefined

  finish(): void
}

/** Returns the type of what this layer has at a path; `undefined` for nothing. */
export type OwnType = (path: ByteString) => FileType | undefined

export const IMPLIED = { mode: 0o755, uid: 0, gid: 0, atimeNs: 0n, mtimeNs: 0n } as const

export function makeImplied(fs: SyncFs, path: ByteString): Times {
  fs.mkdir(path, IMPLIED.mode)
  if (handsOnAcl(fs, parentOf(path))) dropInheritedAcl(fs, path, 'directory')
  fs.chown(path, IMPLIED.uid, IMPLIED.gid)
  fs.chmod(path, IMPLIED.mode)
  return IMPLIED
}

/** Whether objects made in this directory inherit an ACL, which the tar does not contain. */
export function handsOnAcl(fs: SyncFs, directory: ByteString): boolean {
  return fs.getxattr(directory, DEFAULT_ACL) !== undefined
}

/** Removes the ACLs that a new object inherited from its directory. Call it before setting the mode. */
export function dropInheritedAcl(fs: SyncFs, path: ByteString, type: FileType): void {
  if (type === 'symlink') return
  for (const name of type === 'directory' ? [DEFAULT_ACL, ACCESS_ACL] : [ACCESS_ACL]) {
    if (fs.getxattr(path, name) !== undefined) fs.removexattr(path, name)
  }
}
