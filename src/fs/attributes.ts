import { lstatSync } from 'node:fs'
import type { ByteString } from './bytes.js'
import type { DeviceNumber, FileType, SyncStat } from './sync-fs.js'

/** What the operating system may refuse to keep in an inode. */
export interface KeptStat {
  readonly type: FileType
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly device: DeviceNumber
}

/** An object of a tree, by its path or as opened. */
export interface Subject {
  /** For a descriptor, the path that was opened; it may be another file's by now. */
  readonly path: ByteString
  /** Its path on the host, good only during the call, or its descriptor. */
  readonly host: string | Buffer | number
}

/**
 * Where `HostFs` keeps owners, modes, types and xattrs when the inode is not to be used (see `AttributeMode`).
 */
export interface Attributes {
  /** Whether a symlink can have an owner; where it cannot, it becomes a file that is kept as a symlink. */
  readonly marksSymlinks: boolean
  /** What an object is to show, given what its inode says. */
  seen(subject: Subject, inode: SyncStat): SyncStat
  /** What a regular file of the host shows as. */
  typeOf(subject: Subject): FileType
  /** The permission bits to give the inode of a file that shows others. */
  hostMode(type: FileType, mode: number): number
  keep(subject: Subject, kept: KeptStat): void
  list(subject: Subject): ByteString[]
  get(subject: Subject, name: ByteString): Buffer | undefined
  set(subject: Subject, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void
  remove(subject: Subject, name: ByteString): void
  /** Those that keep by path are told what becomes of paths, once it is done. */
  readonly paths?: PathEvents
  close(): void
}

export interface PathEvents {
  /** The object's modification time was set, as exactly as the host can. */
  timed(subject: Subject, mtimeNs: bigint, inodeMtimeNs: bigint): void
  linked(existing: ByteString, path: ByteString): void
  /** With all below it; what was at `to` is gone. */
  renamed(from: ByteString, to: ByteString): void
  removed(path: ByteString): void
  opened(path: ByteString, fd: number): void
  closed(fd: number): void
}

/** The owner of what nothing is kept of: whoever runs this, and whom the tree belongs to, show as root. */
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

/** The largest id that chown(2) sets: the next one stands for -1. */
export const MAX_ID = 0xffff_fffe
/** Linux keeps twelve bits of a major number, and twenty of a minor one. */
export const MAX_MAJOR = 0xfff
export const MAX_MINOR = 0xf_ffff

/** Whether a file can have this owner or group. */
export function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= MAX_ID
}

/** Whether a device node can have this number. */
export function isDeviceNumber({ major, minor }: DeviceNumber): boolean {
  const [isMajor, isMinor] = [Number.isInteger(major), Number.isInteger(minor)]
  return isMajor && isMinor && major >= 0 && major <= MAX_MAJOR && minor >= 0 && minor <= MAX_MINOR
}

/**
 * As chown(2) by root: -1 leaves that id alone, and set-ID bits go, of everything but directories; that of the group stays
 * where the group may not execute.
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

/** What a chown, or a write, takes from a file. */
export const CAPABILITY = 'security.capability' as ByteString

/** Whoever runs this can always read and write, and nobody gets the set-id bits of a file that is not theirs. */
export function ownersMode(type: FileType, mode: number): number {
  return (mode & 0o777) | (type === 'directory' ? 0o700 : 0o600)
}

/** What shows by itself, without anything kept of it. */
export function showsByItself(kept: KeptStat): boolean {
  const { type, mode, uid, gid } = kept
  if (uid !== 0 || gid !== 0) return false
  if (type === 'symlink') return true
  return (type === 'file' || type === 'directory') && mode === ownersMode(type, mode)
}

/** As the kernel has it: what has no namespace that there is cannot be set. */
export function isXattrName(name: ByteString): boolean {
  return /^(user|trusted|security|system)\../s.test(name)
}

/** As the kernel has it: what may not be set on an object of this type, or removed from it. */
export function xattrRefusal(type: FileType, name: ByteString): 'EPERM' | 'ENOTSUP' | undefined {
  if (!isXattrName(name)) return 'ENOTSUP'
  return name.startsWith('user.') && type !== 'file' && type !== 'directory' ? 'EPERM' : undefined
}
