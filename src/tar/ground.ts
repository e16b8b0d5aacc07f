import type { ByteString } from '../fs/bytes.js'
import type { FileType, RawFs, RawStat } from '../fs/raw-fs.js'

/** Times that a directory has, or had before something was put in it. */
export interface Times {
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
}

/**
 * What a layer is applied onto: the tree that is written, and what lower layers have in it. Paths are real: none of
 * their components is a symlink of this layer.
 */
export interface Ground {
  readonly fs: RawFs

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

export function statOrNothing(fs: RawFs, path: ByteString): RawStat | undefined {
  try {
    return fs.find(path)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

export function makeImplied(fs: RawFs, path: ByteString): Times {
  fs.mkdir(path, IMPLIED.mode)
  fs.chown(path, IMPLIED.uid, IMPLIED.gid)
  return IMPLIED
}
