import { constants } from 'node:fs'
import { isXattrName } from '../attributes.js'
import type { ByteString } from '../bytes.js'
import { CopyUp } from './copy-up.js'
import { HostFs } from '../host/host-fs.js'
import { LowerFiles } from './lower-file.js'
import { isMerged } from './merged-dir.js'
import { isMetacopy } from '../overlay-marks.js'
import { keptXattr, shownXattr } from './overlay-xattr.js'
import { PendingCopies } from './pending-copies.js'
import type { DeviceNumber, FileType, SyncDirent, SyncFile, SyncFs, SyncStat } from '../sync-fs.js'
import type { UnionFsSpec } from '../spec.js'
import { UnionEntries } from './entries.js'
import { failure } from './failure.js'
import { UnionLookup, type Place } from './lookup.js'
import { WorkDir } from './work-dir.js'

const { O_CREAT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY } = constants

const NOT_TRUNCATED = {
  directory: 'EISDIR',
  symlink: 'ELOOP',
  char: 'EINVAL',
  block: 'EINVAL',
  fifo: 'EINVAL',
  socket: 'EINVAL',
} as const

/**
 * An overlay in user space over the directories that a kernel's overlayfs takes: an upper directory, a work directory
 * and any number of lower ones, uppermost first. Each can continue where the other stopped. Both show the same tree as
 * long as the kernel's is mounted with `redirect_dir=off,metacopy=off,index=off`, as Docker does.
 *
 * As on the kernel's overlay:
 *
 * - A file is copied up before it is written or its attributes change. This breaks a hard link to a lower file.
 * - A directory that shows from a lower layer, alone or merged, cannot be renamed (`EXDEV`).
 * - Merged directories have one link.
 * - The overlay's xattrs are not shown.
 *
 * Unlike the kernel's overlay:
 *
 * - `dev` and `ino` are those of the file that shows. They are stable and distinct between layers, but change at
 *   copy-up.
 * - Names that begin with `.wh.` cannot be made (`EINVAL`), since they are marks in one of the forms that are read.
 * - Uppers with renames by reference or metadata-only copies (made by a kernel with `redirect_dir=on` or `metacopy=on`)
 *   are refused where they matter, with `EPERM`.
 * - While a union with an upper directory is open, nothing else may change that directory. A crash leaves only complete
 *   files: see `CopyUp` and `UnionEntries`.
 */
export class UnionFs implements SyncFs {
  readonly readOnly: boolean
  readonly spec: UnionFsSpec
  readonly #lookup: UnionLookup
  readonly #layers: readonly HostFs[]
  readonly #writing: WritableParts | undefined
  readonly #lowerFiles = new LowerFiles()

  /** @param options.rememberedNames limits the cached names of directories, some 60 bytes of memory each */
  constructor(spec: UnionFsSpec, { rememberedNames = 400_000 }: { readonly rememberedNames?: number } = {}) {
    this.spec = spec
    const upper = spec.upper && new HostFs(spec.upper)
    const lowers = spec.lowers.map((lower) => new HostFs({ ...lower, readOnly: true }))
    this.#layers = upper === undefined ? lowers : [upper, ...lowers]
    this.#lookup = new UnionLookup(upper, lowers, rememberedNames)
    this.readOnly = upper === undefined || upper.readOnly
    if (upper !== undefined && !upper.readOnly) this.#writing = this.#writingTo(upper)
  }

  lstat(path: ByteString): SyncStat {
    return this.#stat(this.#lookup.require('lstat', path), path)
  }

  find(path: ByteString): SyncStat | undefined {
    const place = this.#lookup.find('lstat', path)
    return place && this.#stat(place, path)
  }

  readdir(path: ByteString): SyncDirent[] {
    const { upper, lower } = this.#lookup.dir('scandir', path)
    const entries: SyncDirent[] = []
    for (const [name, type] of upper ?? []) if (type !== 'whiteout') entries.push({ name, type })
    for (const [name, { type }] of lower) if (upper?.has(name) !== true) entries.push({ name, type })
    return entries
  }

  readlink(path: ByteString): ByteString {
    return this.#lookup.require('readlink', path).fs.readlink(path)
  }

  open(path: ByteString, flags: number, mode = 0o666): SyncFile {
    const place = this.#lookup.find('open', path)
    if (place === undefined) return this.#createFile(path, flags, mode)
    if ((flags & O_CREAT) !== 0) {
      if ((flags & O_EXCL) !== 0) throw failure('EEXIST', 'open', path)
      if (place.type === 'directory') throw failure('EISDIR', 'open', path)
    }
    if (place.type !== 'file') return this.#openOther(place, path, flags)
    if ((flags & (O_WRONLY | O_RDWR | O_TRUNC)) === 0) return this.#openForReading(place, path, flags)
    const { upper, copyUp } = this.#forWriting('open', path)
    const isOurs = copyUp.lift('open', path, (flags & O_TRUNC) === 0 ? Infinity : 0)
    const file = upper.openSeen(path, flags & ~O_CREAT)
    return isOurs ? file : this.#checked(upper, path, file)
  }

  mkdir(path: ByteString, mode: number): void {
    this.#create('mkdir', path, 'directory', (fs, at) => fs.mkdir(at, mode))
  }

  symlink(target: ByteString, path: ByteString): void {
    this.#create('symlink', path, 'symlink', (fs, at) => fs.symlink(target, at))
  }

  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device: DeviceNumber = { major: 0, minor: 0 },
  ): void {
    const isWhiteout = type === 'char' && device.major === 0 && device.minor === 0
    if (isWhiteout && this.#lookup.find('mknod', path) === undefined) throw failure('EPERM', 'mknod', path)
    this.#create('mknod', path, type, (fs, at) => fs.mknod(at, type, mode, device))
  }

  link(existing: ByteString, path: ByteString): void {
    this.#forWriting('link', path).entries.link(existing, path)
  }

  unlink(path: ByteString): void {
    this.#forWriting('unlink', path).entries.unlink(path)
    this.#lowerFiles.detach(path)
  }

  rmdir(path: ByteString): void {
    this.#forWriting('rmdir', path).entries.rmdir(path)
    this.#lowerFiles.detach(path)
  }

  rename(from: ByteString, to: ByteString): void {
    this.#forWriting('rename', from).entries.rename(from, to)
    if (from !== to) this.#lowerFiles.detach(to)
  }

  chmod(path: ByteString, mode: number): void {
    const { type } = this.#lookup.require('chmod', path)
    if (type === 'symlink') throw failure('EOPNOTSUPP', 'chmod', path)
    this.#lift('chmod', path).chmod(path, mode)
  }

  chown(path: ByteString, uid: number, gid: number): void {
    this.#lift('chown', path).chown(path, uid, gid)
  }

  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#lift('utime', path).utimes(path, atimeNs, mtimeNs)
  }

  truncate(path: ByteString, size: number): void {
    const { type } = this.#lookup.require('truncate', path)
    if (type !== 'file') throw failure(NOT_TRUNCATED[type], 'truncate', path)
    if (size < 0) throw failure('EINVAL', 'truncate', path)
    this.#lift('truncate', path, size).truncate(path, size)
  }

  listxattr(path: ByteString): ByteString[] {
    const kept = this.#lookup.require('listxattr', path).fs.listxattr(path)
    return kept.map(shownXattr).filter((name) => name !== undefined)
  }

  getxattr(path: ByteString, name: ByteString): Buffer | undefined {
    const { fs } = this.#lookup.require('getxattr', path)
    const kept = keptXattr(name)
    return kept === undefined ? undefined : fs.getxattr(path, kept)
  }

  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    const kept = this.#keptXattr('setxattr', path, name)
    this.#lift('setxattr', path).setxattr(path, kept, value, flag)
  }

  removexattr(path: ByteString, name: ByteString): void {
    const kept = this.#keptXattr('removexattr', path, name)
    const { fs, inUpper } = this.#lookup.require('removexattr', path)
    if (!inUpper && fs.getxattr(path, kept) === undefined) {
      throw failure(isXattrName(name) ? 'ENODATA' : 'ENOTSUP', 'removexattr', path)
    }
    this.#lift('removexattr', path).removexattr(path, kept)
  }

  prepareWrite(path: ByteString, signal?: AbortSignal, stat?: SyncStat): Promise<void> | undefined {
    return this.#writing?.pending.prepare(path, signal, stat)
  }

  /** Cancels copies that `prepareWrite` has under way. Open files stay open. */
  close(): void {
    this.#writing?.pending.close()
    this.#writing?.workspace.close()
    for (const layer of this.#layers) layer.close()
    this.#lookup.cache.clear()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #stat({ type, fs }: Place, path: ByteString): SyncStat {
    const stat = fs.lstat(path)
    if (type !== 'directory' || !isMerged(this.#lookup.dir('lstat', path))) return stat
    return { ...stat, nlink: 1 }
  }

  #writingTo(upper: HostFs): WritableParts {
    const workspace = new WorkDir(upper, this.spec.work)
    const copyUp = new CopyUp(this.#lookup, upper, workspace, {
      syncs: this.spec.volatile !== true,
      onLift: (path) => this.#lowerFiles.follow(path, () => upper.open(path, constants.O_RDONLY)),
    })
    const entries = new UnionEntries(this.#lookup, upper, copyUp, workspace)
    return { upper, workspace, copyUp, entries, pending: new PendingCopies(this.#lookup, copyUp) }
  }

  #forWriting(syscall: string, path: ByteString): WritableParts {
    if (this.#writing === undefined) throw failure('EROFS', syscall, path)
    return this.#writing
  }

  #lift(syscall: string, path: ByteString, limit?: number): HostFs {
    this.#lookup.require(syscall, path)
    const { upper, copyUp } = this.#forWriting(syscall, path)
    copyUp.lift(syscall, path, limit)
    return upper
  }

  #create<T>(syscall: string, path: ByteString, type: FileType, make: (fs: HostFs, at: ByteString) => T): T {
    if (this.#lookup.find(syscall, path) !== undefined) throw failure('EEXIST', syscall, path)
    return this.#forWriting(syscall, path).entries.create(syscall, path, type, make)
  }

  #createFile(path: ByteString, flags: number, mode: number): SyncFile {
    if ((flags & O_CREAT) === 0) throw failure('ENOENT', 'open', path)
    return this.#create('open', path, 'file', (fs, at) => fs.open(at, flags | O_EXCL, mode))
  }

  #openForReading({ fs, inUpper }: Place, path: ByteString, flags: number): SyncFile {
    const file = this.#checked(fs, path, fs.openSeen(path, flags & ~O_CREAT))
    if (inUpper) return file
    return this.#lowerFiles.add(path, file, (at) => this.#lift('open', at))
  }

  #checked(fs: HostFs, path: ByteString, file: SyncFile): SyncFile {
    if (!isMetacopy(fs, path, file.stat())) return file
    file.close()
    throw failure('EPERM', 'open', path)
  }

  #openOther({ type, fs, inUpper }: Place, path: ByteString, flags: number): SyncFile {
    const writes = (flags & (O_WRONLY | O_RDWR | O_TRUNC)) !== 0
    if (type === 'symlink') throw failure('ELOOP', 'open', path)
    if (type === 'directory' && writes) throw failure('EISDIR', 'open', path)
    if (type !== 'directory') throw failure('ENXIO', 'open', path)
    const file = fs.open(path, flags & ~O_CREAT)
    return inUpper ? file : this.#lowerFiles.add(path, file, (at) => this.#lift('open', at))
  }

  #keptXattr(syscall: string, path: ByteString, name: ByteString): ByteString {
    const { type } = this.#lookup.require(syscall, path)
    const kept = keptXattr(name)
    const isOfUser = name.startsWith('user.')
    if (kept === undefined || (isOfUser && type !== 'file' && type !== 'directory')) {
      throw failure('EPERM', syscall, path)
    }
    return kept
  }
}

/** Parts that only a union with a writable upper directory has. */
interface WritableParts {
  readonly upper: HostFs
  readonly workspace: WorkDir
  readonly copyUp: CopyUp
  readonly entries: UnionEntries
  readonly pending: PendingCopies
}
