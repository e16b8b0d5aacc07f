import { lstatSync } from 'node:fs'
import type { ByteString } from './bytes.js'
import type { DeviceNumber, FileType, SyncStat } from './sync-fs.js'

/** Attributes that the operating system may refuse to store in an inode. */
export interface KeptStat {
  readonly type: FileType
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly device: DeviceNumber
}

/** An object of a tree, named by path or by open descriptor. */
export interface Subject {
  /** For a descriptor, the path that was opened. It may name another file by now. */
  readonly path: ByteString
  /** Path on the host, valid only during the call, or an open descriptor. */
  readonly host: string | Buffer | number
}

/** Stores owners, modes, types and xattrs for `HostFs` when the inode is not used for them (see `AttributeMode`). */
export interface Attributes {
  /**
   * Whether a host symlink can carry attributes. If not, a symlink that gets an owner or an xattr is replaced by a
   * regular file that shows as a symlink.
   */
  readonly marksSymlinks: boolean
  /** Returns what an object shows, given the stat of its inode. */
  seen(subject: Subject, inode: SyncStat): SyncStat
  /** Returns the type that a regular file of the host shows as. */
  typeOf(subject: Subject): FileType
  /** Permission bits for the inode of an object that shows `mode`. */
  hostMode(type: FileType, mode: number): number
  keep(subject: Subject, kept: KeptStat): void
  list(subject: Subject): ByteString[]
  get(subject: Subject, name: ByteString): Buffer | undefined
  set(subject: Subject, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void
  remove(subject: Subject, name: ByteString): void
  /** Set if attributes are stored by path. Receives each change of a path after it was made. */
  readonly paths?: PathEvents
  close(): void
}

export interface PathEvents {
  /** The modification time was set to `mtimeNs`. The inode holds `inodeMtimeNs`, as exactly as the host can. */
  timed(subject: Subject, mtimeNs: bigint, inodeMtimeNs: bigint): void
  linked(existing: ByteString, path: ByteString): void
  /** Includes everything below `from`. The object at `to` was replaced. */
  renamed(from: ByteString, to: ByteString): void
  removed(path: ByteString): void
  opened(path: ByteString, fd: number): void
  closed(fd: number): void
}

/**
 * Maps the owner of an object without stored attributes. The user and group of this process, and those of the tree's
 * root directory, show as root.
 */
export class TreeOwner {
  readonly #uids: readonly (number | undefined)[]
  readonly #gids: readonly (number | undefined)[]

  constructor(root: string) {
    const { uid, gid } = lstatSync(root)
    this.#uids = [uid, process.getuid?.()]
    this.#gids = [gid, process.getgid?.()]
  }

  shown<T extends { readonly uid: number; readonly gid: number }>(inode: T): T {
    const uid = this.#uids.includes(inode.uid) ? 0 : inode.uid
    const gid = this.#gids.includes(inode.gid) ? 0 : inode.gid
    return uid === inode.uid && gid === inode.gid ? inode : { ...inode, uid, gid }
  }
}

/** The largest ID that chown(2) sets. The next number stands for -1. */
export const MAX_ID = 0xffff_fffe
/** Linux stores 12 bits of a major number and 20 bits of a minor number. */
export const MAX_MAJOR = 0xfff
export const MAX_MINOR = 0xf_ffff

/** Whether a file can have this owner or group ID. */
export function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= MAX_ID
}

/** Whether a device node can have this number. */
export function isDeviceNumber({ major, minor }: DeviceNumber): boolean {
  const [isMajor, isMinor] = [Number.isInteger(major), Number.isInteger(minor)]
  return isMajor && isMinor && major >= 0 && major <= MAX_MAJOR && minor >= 0 && minor <= MAX_MINOR
}

/**
 * Applies chown(2) as root does. -1 leaves that ID unchanged. Set-ID bits are cleared, except on directories. The
 * set-group-ID bit stays if the group may not execute the file.
 */
export function ownedBy<T extends KeptStat>(stat: T, uid: number, gid: number): T {
  const taken = stat.type === 'directory' ? 0 : (stat.mode & 0o010) === 0 ? 0o4000 : 0o6000
  return {
    ...stat,
    mode: stat.mode & ~taken,
    uid: uid === -1 ? stat.uid : uid,
    gid: gid === -1 ? stat.gid : gid,
  }
}

export function dropCapability(attributes: Attributes, subject: Subject): void {
  if (attributes.get(subject, CAPABILITY) !== undefined) attributes.remove(subject, CAPABILITY)
}

/** File capabilities. A chown or a write removes them. */
export const CAPABILITY = 'security.capability' as ByteString

/**
 * Mode for the host inode. This process's user can always read and write. Set-ID bits are left out, because the inode's
 * owner is not the owner that the file shows.
 */
export function ownersMode(type: FileType, mode: number): number {
  return (mode & 0o777) | (type === 'directory' ? 0o700 : 0o600)
}

/** Whether an object shows these attributes without a stored record. */
export function showsByItself(kept: KeptStat): boolean {
  const { type, mode, uid, gid } = kept
  if (uid !== 0 || gid !== 0) return false
  if (type === 'symlink') return true
  return (type === 'file' || type === 'directory') && mode === ownersMode(type, mode)
}

/** Whether the name has a known namespace. As in the kernel, no other xattr can be set. */
export function isXattrName(name: ByteString): boolean {
  return /^(user|trusted|security|system)\../s.test(name)
}

/**
 * Returns the error for an xattr that may not be set on, or removed from, an object of this type. Same rules as the
 * kernel.
 */
export function xattrRefusal(type: FileType, name: ByteString): 'EPERM' | 'ENOTSUP' | undefined {
  if (!isXattrName(name)) return 'ENOTSUP'
  return name.startsWith('user.') && type !== 'file' && type !== 'directory' ? 'EPERM' : undefined
}
