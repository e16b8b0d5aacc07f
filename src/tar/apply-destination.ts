import { ACCESS_ACL, DEFAULT_ACL } from '../fs/host/acl.js'
import { parentOf, type ByteString } from '../fs/bytes.js'
import type { FileType, SyncFs, SyncStat } from '../fs/sync-fs.js'

/** Times that a directory has, or had before something was put in it. */
export interface Times {
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
}

/**
 * What a layer is applied onto: the tree that is written, and what lower layers have in it. Paths are real: none of
 * their components is a symlink of this layer.
 */
export interface ApplyDestination {
  readonly fs: SyncFs

  /**
   * Nothing of this layer is at `path`, and its directory is there. Makes sure that a directory is, with the attributes
   * of the one in the lower layers if there is one, else root's with 0755. Anything else there is shadowed.
   */
  implyDirectory(path: ByteString): Times
  /**
   * Nothing of this layer is at `path`, and its directory is there. Afterwards nothing is in the way of a new object.
   * @returns whether a directory is there that a directory entry merges with
   */
  makeRoom(path: ByteString, type: 'directory' | 'other'): boolean
  /** A directory of this layer was made at `path`, after `makeRoom`. */
  newDirectory(path: ByteString): void

  /** Hides what lower layers have at `path`, and nothing of this layer. */
  whiteout(path: ByteString): void
  /** Hides what lower layers have in the directory at `path`, which is there. */
  opaque(path: ByteString): void
  /** Whether lower layers show a directory at `path`. */
  isLowerDirectory(path: ByteString): boolean
  /**
   * Makes a lower layer's object at `path`, no directory, one that this layer can link to.
   * @returns names that lower layers have for it and that are to be linked, too, so that they stay together; `undefined`
   *   if there is no such object
   */
  bringUp(path: ByteString): readonly ByteString[] | undefined

  finish(): void
}

/** What this layer has at a path; `undefined` for nothing. */
export type OwnType = (path: ByteString) => FileType | undefined

export const IMPLIED = { mode: 0o755, uid: 0, gid: 0, atimeNs: 0n, mtimeNs: 0n } as const

export function statOrNothing(fs: SyncFs, path: ByteString): SyncStat | undefined {
  try {
    return fs.find(path)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

export function makeImplied(fs: SyncFs, path: ByteString): Times {
  fs.mkdir(path, IMPLIED.mode)
  if (handsOnAcl(fs, parentOf(path))) dropInheritedAcl(fs, path, 'directory')
  fs.chown(path, IMPLIED.uid, IMPLIED.gid)
  fs.chmod(path, IMPLIED.mode)
  return IMPLIED
}

/** Whether what is made in this directory inherits an ACL, which the tar knows nothing of. */
export function handsOnAcl(fs: SyncFs, directory: ByteString): boolean {
  return fs.getxattr(directory, DEFAULT_ACL) !== undefined
}

/** Takes from a new object the ACLs that its directory handed on. Its mode is still to be set. */
export function dropInheritedAcl(fs: SyncFs, path: ByteString, type: FileType): void {
  if (type === 'symlink') return
  for (const name of type === 'directory' ? [DEFAULT_ACL, ACCESS_ACL] : [ACCESS_ACL]) {
    if (fs.getxattr(path, name) !== undefined) fs.removexattr(path, name)
  }
}
