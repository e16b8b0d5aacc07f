import { realpathSync } from 'node:fs'
import { isErrno } from '../../errors.js'
import { systemError } from '../../sys/errno.js'
import {
  isDeviceNumber,
  isId,
  ownersMode,
  showsByItself,
  TreeOwner,
  type Attributes,
  type KeptStat,
  type PathEvents,
  type Subject,
} from '../attributes.js'
import { bytesToHost, type ByteString } from '../bytes.js'
import type { FileType, SyncStat } from '../sync-fs.js'
import { SidecarJournal } from './sidecar-journal.js'

/**
 * Attributes stored in the file `<root>.attributes` beside the root directory, for systems and file systems without
 * xattrs. It holds owner, mode, type, device number, xattrs, and the nanoseconds of modification times that the host
 * cuts off.
 *
 * The file is a journal (see `SidecarJournal`). Each line is one of
 *
 *     {"set": path, "stat": [type, mode, uid, gid, major, minor], "mtime": [shown, inode's], "xattrs": {name: base64}}
 *     {"link": [existing, path]}      from now on, both paths share one set of attributes
 *     {"rename": [from, to]}          including everything below
 *     {"remove": path}
 *
 * Paths and names have one character per byte. An object that shows what its inode says has no line.
 *
 * 1. The line about a made, renamed or removed object is written after the tree was changed. A crash in between leaves
 *    an object that shows what its inode says.
 * 2. A stored type, mode and owner count only while the inode at that path has a compatible type.
 * 3. A stored modification time counts only until the inode's time changes, that is, until the next write.
 */
export class Sidecar implements Attributes {
  readonly marksSymlinks = true
  readonly #owner: TreeOwner
  readonly #journal: SidecarJournal<Line>
  readonly #byPath = new Map<ByteString, Kept>()
  readonly #byDescriptor = new Map<number, Kept>()

  constructor(root: string) {
    this.#owner = new TreeOwner(root)
    this.#journal = new SidecarJournal<Line>(`${realpathSync(root)}.attributes`, {
      reset: () => this.#byPath.clear(),
      read: (line) => this.#apply(line),
    })
    this.#journal.catchUp()
  }

  seen(subject: Subject, inode: SyncStat): SyncStat {
    const kept = this.#find(subject)
    const shown = this.#owner.shown(inode)
    if (kept === undefined) return shown
    const mtimeNs = kept.mtime?.inode === inode.mtimeNs ? kept.mtime.shown : inode.mtimeNs
    if (kept.stat === undefined || !canStandFor(inode.type, kept.stat.type)) return { ...shown, mtimeNs }
    const size = inode.type === kept.stat.type || kept.stat.type === 'symlink' ? inode.size : 0
    return { ...inode, ...kept.stat, size, mtimeNs }
  }

  typeOf(subject: Subject): FileType {
    const type = this.#find(subject)?.stat?.type ?? 'file'
    return canStandFor('file', type) ? type : 'file'
  }

  hostMode(type: FileType, mode: number): number {
    return ownersMode(type, mode)
  }

  keep(subject: Subject, { type, mode, uid, gid, device }: KeptStat): void {
    const stat = { type, mode, uid, gid, device }
    const kept = this.#find(subject)
    if (showsByItself(stat)) {
      if (kept?.stat !== undefined) this.#change(subject, (changed) => (changed.stat = undefined))
    } else this.#change(subject, (changed) => (changed.stat = stat))
  }

  list(subject: Subject): ByteString[] {
    return [...(this.#find(subject)?.xattrs.keys() ?? [])]
  }

  get(subject: Subject, name: ByteString): Buffer | undefined {
    const value = this.#find(subject)?.xattrs.get(name)
    return value === undefined ? undefined : Buffer.from(value)
  }

  set(subject: Subject, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    const exists = this.#find(subject)?.xattrs.has(name) === true
    if (exists && flag === 'create') throw systemError('EEXIST', 'setxattr', bytesToHost(name))
    if (!exists && flag === 'replace') throw systemError('ENODATA', 'setxattr', bytesToHost(name))
    this.#change(subject, ({ xattrs }) => xattrs.set(name, Buffer.from(value)))
  }

  remove(subject: Subject, name: ByteString): void {
    if (this.#find(subject)?.xattrs.has(name) !== true) {
      throw systemError('ENODATA', 'removexattr', bytesToHost(name))
    }
    this.#change(subject, ({ xattrs }) => xattrs.delete(name))
  }

  readonly paths: PathEvents = {
    timed: (subject, shown, inode) => {
      const mtime = shown === inode ? undefined : { shown, inode }
      if (mtime !== undefined || this.#find(subject)?.mtime !== undefined) {
        this.#change(subject, (kept) => (kept.mtime = mtime))
      }
    },
    linked: (existing, path) => this.#note({ link: [existing, path] }),
    renamed: (from, to) => {
      this.#journal.catchUp()
      const isThere = this.#byPath.has(to) || this.#pathsAt(from).length > 0
      if (isThere) this.#note({ rename: [from, to] })
    },
    removed: (path) => {
      this.#journal.catchUp()
      if (this.#byPath.has(path)) this.#note({ remove: path })
    },
    opened: (path, fd) => {
      this.#journal.catchUp()
      this.#byDescriptor.set(fd, this.#at(path))
    },
    closed: (fd) => void this.#byDescriptor.delete(fd),
  }

  close(): void {
    try {
      this.#journal.close(this.#byPath.size, () => this.#shortest())
    } catch (error) {
      // The tree and its journal were removed while it was open.
      if (!isErrno(error, 'ENOENT')) throw error
    }
    this.#byPath.clear()
  }

  #find({ path, host }: Subject): Kept | undefined {
    this.#journal.catchUp()
    return typeof host === 'number' ? this.#byDescriptor.get(host) : this.#byPath.get(path)
  }

  /** An open file without a name is changed only in memory, and only as long as it is open. */
  #change({ path, host }: Subject, change: (kept: Kept) => unknown): void {
    const kept = (typeof host === 'number' ? this.#byDescriptor.get(host) : undefined) ?? this.#at(path)
    change(kept)
    const [name] = kept.names
    if (name !== undefined) this.#journal.append(lineOf(name, kept))
  }

  #note(line: Line): void {
    this.#journal.catchUp()
    this.#apply(line)
    this.#journal.append(line)
  }

  #apply(line: Line): void {
    if ('set' in line) {
      const kept = this.#at(line.set)
      kept.stat = line.stat && statOf(line.stat)
      kept.mtime = line.mtime && { shown: BigInt(line.mtime[0]), inode: BigInt(line.mtime[1]) }
      kept.xattrs = new Map(
        Object.entries(line.xattrs ?? {}).map(([name, value]) => [
          name as ByteString,
          Buffer.from(value, 'base64'),
        ]),
      )
    } else if ('link' in line) {
      this.#put(line.link[1], this.#at(line.link[0]))
    } else if ('rename' in line) {
      this.#move(...line.rename)
    } else {
      this.#drop(line.remove)
    }
  }

  #move(from: ByteString, to: ByteString): void {
    // rename(2) does nothing if both names belong to one file.
    if (this.#byPath.has(from) && this.#byPath.get(from) === this.#byPath.get(to)) return
    this.#drop(to)
    for (const path of this.#pathsAt(from)) {
      const kept = this.#byPath.get(path) as Kept
      this.#drop(path)
      this.#put((to + path.slice(from.length)) as ByteString, kept)
    }
  }

  /** The recorded paths among `path` and those below it. */
  #pathsAt(path: ByteString): ByteString[] {
    const below = `${path}/`
    return [...this.#byPath.keys()].filter((known) => known === path || known.startsWith(below))
  }

  #at(path: ByteString): Kept {
    return this.#byPath.get(path) ?? this.#put(path, { names: new Set(), xattrs: new Map() })
  }

  #put(path: ByteString, kept: Kept): Kept {
    this.#drop(path)
    this.#byPath.set(path, kept)
    kept.names.add(path)
    return kept
  }

  #drop(path: ByteString): void {
    this.#byPath.get(path)?.names.delete(path)
    this.#byPath.delete(path)
  }

  *#shortest(): Generator<Line> {
    for (const kept of new Set(this.#byPath.values())) {
      const [first, ...others] = kept.names
      if (first === undefined) continue
      if (saysSomething(kept)) yield lineOf(first, kept)
      for (const other of others) yield { link: [first, other] }
    }
  }
}

/** Stored attributes of an object, shared by all of its names. */
interface Kept {
  readonly names: Set<ByteString>
  stat?: KeptStat | undefined
  mtime?: { readonly shown: bigint; readonly inode: bigint } | undefined
  xattrs: Map<ByteString, Buffer>
}

type StatLine = readonly [
  type: FileType,
  mode: number,
  uid: number,
  gid: number,
  major: number,
  minor: number,
]

type Line =
  | {
      readonly set: ByteString
      readonly stat?: StatLine
      readonly mtime?: readonly [shown: string, inode: string]
      readonly xattrs?: Readonly<Record<string, string>>
    }
  | { readonly link: readonly [existing: ByteString, path: ByteString] }
  | { readonly rename: readonly [from: ByteString, to: ByteString] }
  | { readonly remove: ByteString }

function lineOf(path: ByteString, { stat, mtime, xattrs }: Kept): Line {
  return {
    set: path,
    ...(stat && {
      stat: [stat.type, stat.mode, stat.uid, stat.gid, stat.device.major, stat.device.minor] as const,
    }),
    ...(mtime && { mtime: [String(mtime.shown), String(mtime.inode)] as const }),
    ...(xattrs.size > 0 && {
      xattrs: Object.fromEntries([...xattrs].map(([name, value]) => [name, value.toString('base64')])),
    }),
  }
}

/** Returns `undefined` for attributes that no file can have. The object then shows what its inode says. */
function statOf([type, mode, uid, gid, major, minor]: StatLine): KeptStat | undefined {
  const device = { major, minor }
  const isPossible = isId(uid) && isId(gid) && isDeviceNumber(device) && (mode & ~0o7777) === 0
  return isPossible ? { type, mode, uid, gid, device } : undefined
}

function saysSomething({ stat, mtime, xattrs }: Kept): boolean {
  return stat !== undefined || mtime !== undefined || xattrs.size > 0
}

/**
 * Whether an inode can show as the stored type. A directory is a directory on the host. A symlink is a symlink, or a
 * file if the host has no symlinks. Everything else is a file.
 */
function canStandFor(inode: FileType, kept: FileType): boolean {
  if (inode === 'directory' || kept === 'directory') return inode === kept
  return inode === 'file' || inode === kept
}
