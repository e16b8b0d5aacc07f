import { constants } from 'node:fs'
import { isErrno } from '../../errors.js'
import type { ByteString } from '../bytes.js'
import { copyContent } from '../copy-content.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants
const SET_ID = 0o6000

/** An object to copy. */
export interface Original {
  readonly fs: SyncFs
  readonly path: ByteString
  readonly stat: SyncStat
}

/** Where a copy is made. The path must not exist. */
export interface CopyPlace {
  readonly fs: SyncFs
  readonly path: ByteString
}

export interface NodeOptions {
  /** Bytes of a file's content to copy. @default all */
  readonly size?: number
  /** Whether a file's content is on disk when this returns. @default false */
  readonly sync?: boolean
  /**
   * Mode of a new file or directory. `original`: that of the original, for copies that have no children and no set-ID
   * bits to protect until they are in place. `private`: the owner's alone, until `copyAttributes`.
   */
  readonly mode: 'original' | 'private'
}

export interface AttributeOptions {
  /** Leaves an xattr out. @default none */
  readonly isLeftOut?: (name: ByteString) => boolean
  /**
   * Leaves out xattrs that the filesystem cannot store, except those without which the copy would grant more than the
   * original, as the kernel's copy-up does. @default false
   */
  readonly toleratesUnsupported?: boolean
  /** Whether the copy was made with the original's mode, which only a chown changed since. @default false */
  readonly hasMode?: boolean
}

/** Makes a new object of the same type, with the content, target or device number of the original. No children. */
export function copyNode({ fs: from, path, stat }: Original, to: CopyPlace, options: NodeOptions): void {
  const isPrivate = options.mode === 'private'
  switch (stat.type) {
    case 'directory':
      return to.fs.mkdir(to.path, isPrivate ? 0o700 : stat.mode)
    case 'symlink':
      return to.fs.symlink(from.readlink(path), to.path)
    case 'file':
      return copyFile({ fs: from, path, stat }, to, isPrivate ? 0o600 : stat.mode, options)
    default:
      return to.fs.mknod(to.path, stat.type, stat.mode, stat.device)
  }
}

/**
 * Gives a copy the owner, xattrs, mode and times of the original. The order matters: a chown clears set-ID bits and file
 * capabilities.
 */
export function copyAttributes(
  { fs: from, path, stat }: Original,
  to: CopyPlace,
  options: AttributeOptions = {},
): void {
  to.fs.chown(to.path, stat.uid, stat.gid)
  for (const name of from.listxattr(path)) {
    if (options.isLeftOut?.(name) === true) continue
    const value = from.getxattr(path, name)
    if (value !== undefined) setXattr(to, name, value, options.toleratesUnsupported === true)
  }
  const hasMode = options.hasMode === true && (stat.mode & SET_ID) === 0
  if (stat.type !== 'symlink' && !hasMode) to.fs.chmod(to.path, stat.mode)
  to.fs.utimes(to.path, stat.atimeNs, stat.mtimeNs)
}

function copyFile({ fs, path, stat }: Original, to: CopyPlace, mode: number, options: NodeOptions): void {
  const { size = stat.size, sync = false } = options
  const copy = to.fs.open(to.path, O_WRONLY | O_CREAT | O_EXCL, mode)
  try {
    if (size === 0) return
    const original = fs.openSeen?.(path) ?? fs.open(path, O_RDONLY)
    try {
      copyContent(original, copy, size, stat)
    } finally {
      original.close()
    }
    if (sync) copy.sync()
  } finally {
    copy.close()
  }
}

function setXattr(to: CopyPlace, name: ByteString, value: Uint8Array, toleratesUnsupported: boolean): void {
  try {
    to.fs.setxattr(to.path, name, value)
  } catch (error) {
    const isTolerated = toleratesUnsupported && !isSecurity(name)
    if (!isTolerated || !isErrno(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error
  }
}

function isSecurity(name: ByteString): boolean {
  return name.startsWith('security.') || name.startsWith('system.posix_acl_')
}
