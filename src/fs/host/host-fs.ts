import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  type BigIntStats,
} from 'node:fs'
import { promisify } from 'node:util'
import { isErrno } from '../../errors.js'

import { systemError } from '../../sys/errno.js'
import { libcAvailable } from '../../sys/libc.js'
import { mknod } from '../../sys/mknod.js'
import { O_PATH } from '../../sys/openat2.js'
import { utimensat } from '../../sys/times.js'
import { umask } from '../../sys/umask.js'
import { keepsXattr, lgetxattr, llistxattr, lremovexattr, lsetxattr } from '../../sys/xattr.js'
import { DEFAULT_ACL } from './acl.js'
import { dropCapability, ownedBy, xattrRefusal, type Attributes, type KeptStat } from '../attributes.js'
import { bytesToHost, joinBytes, parentOf, toBytes, type ByteString } from '../bytes.js'
import { HostFile, seconds } from './host-file.js'
import { openHostPaths } from './guarded-paths.js'
import { hostPathOf, type HostPath, type HostPaths } from './host-path.js'
import { NO_DEVICE, rawStat, typeOfEntry } from './host-stat.js'
import { O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC } from '../open-flags.js'
import { OverrideStat } from './override-stat.js'
import type { DeviceNumber, FileType, SyncDirent, SyncFile, SyncFs, SyncStat } from '../sync-fs.js'
import { Sidecar } from './sidecar.js'
import type { HostFsSpec } from '../spec.js'

const { O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants
const openAsync = promisify(open)
/** Copying this many bytes takes less than half a millisecond. */
const LARGE = 1 << 20
const SET_GROUP_ID = 0o2000

/**
 * A directory of the host, or a mount, as a separate filesystem. Nothing above its root can be reached.
 *
 * Times are exact to the nanosecond if native system calls are available, otherwise as exact as Node's doubles (µs).
 *
 * @example
 * ```ts
 * import { HostFs, type ByteString } from 'layerstack/drivers'
 *
 * using tree = new HostFs({ kind: 'host', root: '.', readOnly: true })
 * for (const { name, type } of tree.readdir('' as ByteString)) console.log(type, name)
 * ```
 */
export class HostFs implements SyncFs {
  /** What this filesystem was opened with. */
  readonly spec: HostFsSpec
  /** Host path of the root. */
  readonly hostPath: string
  /** Whether every change fails with `EROFS`. */
  readonly readOnly: boolean
  /** See {@link SyncFs.lineage}. */
  readonly lineage: string | undefined
  readonly #paths: HostPaths
  readonly #attributes: Attributes | undefined
  /** Modes within these bits are made as requested. A umask set later is assumed to leave the owner bits. */
  readonly #safeMode = 0o700 & ~umask()

  /**
   * The caller must close the filesystem.
   * @param spec the root, and how its attributes are stored
   */
  constructor(spec: HostFsSpec) {
    this.spec = spec
    this.hostPath = spec.root
    this.readOnly = spec.readOnly === true
    this.lineage = spec.lineage
    this.#attributes = attributesOf(spec)
    this.#paths = openHostPaths(spec)
  }

  /** Implements {@link SyncFs.lstat}. */
  lstat(path: ByteString): SyncStat {
    return this.#at('lstat', path, (host) => this.#stat(host, path))
  }

  /** Implements {@link SyncFs.find}. */
  find(path: ByteString): SyncStat | undefined {
    return this.#at('lstat', path, (host) => {
      const stat = lstatSync(host, { bigint: true, throwIfNoEntry: false })
      return stat && this.#seen(host, path, rawStat(stat))
    })
  }

  /** Implements {@link SyncFs.readdir}. */
  readdir(path: ByteString): SyncDirent[] {
    return this.#paths.inside('scandir', path, (directory) => this.#entries(directory, path))
  }

  /** Implements {@link SyncFs.readlink}. */
  readlink(path: ByteString): ByteString {
    return this.#at('readlink', path, (host) => {
      try {
        return toBytes(readlinkSync(host, { encoding: 'buffer' }))
      } catch (error) {
        if (!isErrno(error, 'EINVAL') || this.#attributes === undefined) throw error
        if (this.#stat(host, path).type !== 'symlink') throw error
        return toBytes(this.#paths.pin(host, (pinned, inode) => readRegular(pinned, inode)))
      }
    })
  }

  /** Implements {@link SyncFs.open}. */
  open(path: ByteString, flags: number, mode = 0o666): SyncFile {
    return this.#open(path, flags, (host) => this.#openFile(host, path, flags, mode))
  }

  /** Implements {@link SyncFs.openSeen}. If another program may have replaced the file, it is looked up again. */
  openSeen(path: ByteString, flags = O_RDONLY): SyncFile {
    const { shared = false, untrusted = false } = this.spec
    // Another program may have put a device there. A FIFO or a directory there cannot be read.
    if (shared || (untrusted && !this.#paths.refusesDevices)) return this.open(path, flags)
    return this.#open(path, flags, (host) => openSync(host as string, flags | O_NOFOLLOW | O_NONBLOCK))
  }

  /**
   * A kernel's overlay copies a file up when it is opened for writing. A large file is opened once on the thread pool,
   * so that this thread goes on meanwhile. Ignores errors: they recur when the caller opens the file.
   */
  prepareWrite(path: ByteString, _signal?: AbortSignal, stat?: SyncStat): Promise<void> | undefined {
    if (this.spec.shared !== true || this.readOnly || (stat !== undefined && stat.size <= LARGE))
      return undefined
    return this.#openOnce(path)
  }

  async #openOnce(path: ByteString): Promise<void> {
    let fd: number | undefined
    try {
      fd = this.#at('open', path, (host) => openSync(host as string, O_PATH | O_NOFOLLOW))
      // Checks the descriptor: another program may have put a device or a FIFO at the path.
      const stat = fstatSync(fd)
      if (!stat.isFile() || stat.size <= LARGE) return
      closeSync(await openAsync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK))
    } catch {
      // The error recurs when the caller opens the file.
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  /** Implements {@link SyncFs.mkdir}. */
  mkdir(path: ByteString, mode: number): void {
    this.#mayWrite('mkdir', path)
    this.#at('mkdir', path, (host) => {
      const hostMode = this.#hostMode('directory', mode)
      mkdirSync(host, hostMode)
      if ((hostMode & ~this.#safeMode) !== 0) this.#correctMode(host, path, hostMode)
      this.#keepCreated(host, path, 'directory', mode)
    })
  }

  /** Implements {@link SyncFs.rmdir}. */
  rmdir(path: ByteString): void {
    this.#mayChangeEntry('rmdir', path)
    this.#paths.forget(path)
    this.#at('rmdir', path, (host) => rmdirSync(host))
    this.#attributes?.paths?.removed(path)
  }

  /** Implements {@link SyncFs.unlink}. */
  unlink(path: ByteString): void {
    this.#mayChangeEntry('unlink', path)
    this.#at('unlink', path, (host) => unlinkSync(host))
    this.#attributes?.paths?.removed(path)
  }

  /** Implements {@link SyncFs.rename}. */
  rename(from: ByteString, to: ByteString): void {
    this.#mayChangeEntry('rename', from)
    this.#mayChangeEntry('rename', to)
    this.#paths.forget(from)
    this.#paths.forget(to)
    this.#at('rename', from, (source) => this.#at('rename', to, (target) => renameSync(source, target)))
    if (from !== to) this.#attributes?.paths?.renamed(from, to)
  }

  /** Implements {@link SyncFs.link}. */
  link(existing: ByteString, path: ByteString): void {
    this.#mayChangeEntry('link', path)
    this.#at('link', existing, (source) => this.#at('link', path, (target) => linkSync(source, target)))
    this.#attributes?.paths?.linked(existing, path)
  }

  /** Implements {@link SyncFs.symlink}. */
  symlink(target: ByteString, path: ByteString): void {
    this.#mayWrite('symlink', path)
    this.#at('symlink', path, (host) => {
      symlinkSync(bytesToHost(target), host)
      const gid = this.#attributes === undefined ? 0 : this.#inheritedGroup(path)
      if (this.#attributes !== undefined && gid > 0) this.#keepOwner(this.#attributes, host, path, -1, gid)
    })
  }

  /** Implements {@link SyncFs.mknod}. If attributes are `native`, it is `ENOTSUP` without native system calls. */
  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device = NO_DEVICE,
  ): void {
    this.#mayWrite('mknod', path)
    this.#at('mknod', path, (host) => {
      if (this.#attributes === undefined || isWhiteoutDevice(type, device)) {
        if (!libcAvailable().works) throw systemError('ENOTSUP', 'mknod', host)
        mknod(host, type, mode, device.major, device.minor)
        if ((mode & ~this.#safeMode) !== 0) this.#correctMode(host, path, mode)
      } else {
        writeFileSync(host, '', { flag: 'wx', mode: 0o600 })
        this.#keepCreated(host, path, type, mode, device)
      }
    })
  }

  /** Implements {@link SyncFs.chmod}. */
  chmod(path: ByteString, mode: number): void {
    this.#mayWrite('chmod', path)
    this.#at('chmod', path, (host) => {
      this.#paths.pin(host, (pinned, inode) => {
        const stat = this.#seen(host, path, rawStat(inode))
        if (stat.type === 'symlink') throw systemError('EOPNOTSUPP', 'chmod', host)
        this.#attributes?.keep({ path, host }, { ...stat, mode })
        chmodSync(pinned, this.#hostMode(stat.type, mode))
      })
    })
  }

  /** Implements {@link SyncFs.chown}. */
  chown(path: ByteString, uid: number, gid: number): void {
    this.#mayWrite('chown', path)
    this.#at('chown', path, (host) => {
      if (this.#attributes === undefined) lchownSync(host, uid, gid)
      else this.#keepOwner(this.#attributes, host, path, uid, gid)
    })
  }

  /** Implements {@link SyncFs.utimes}. */
  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#mayWrite('utimes', path)
    this.#at('utimes', path, (host) => {
      setTimes(host, atimeNs, mtimeNs)
      if (mtimeNs === undefined || this.#attributes?.paths === undefined) return
      this.#attributes.paths.timed({ path, host }, mtimeNs, lstatSync(host, { bigint: true }).mtimeNs)
    })
  }

  /** Implements {@link SyncFs.truncate}. */
  truncate(path: ByteString, size: number): void {
    this.#mayWrite('truncate', path)
    this.#at('truncate', path, (host) => {
      this.#paths.pin(host, (pinned, inode) => {
        const { type } = this.#seen(host, path, rawStat(inode))
        if (type === 'symlink') throw systemError('ELOOP', 'truncate', host)
        if (type !== 'file') throw systemError(type === 'directory' ? 'EISDIR' : 'EINVAL', 'truncate', host)
        truncateSync(pinned as string, size)
      })
    })
  }

  /**
   * Implements {@link SyncFs.listxattr}. If attributes are `native`, returns no names without native system calls.
   */
  listxattr(path: ByteString): ByteString[] {
    return this.#at('listxattr', path, (host) => {
      if (this.#attributes !== undefined) return this.#attributes.list({ path, host })
      return libcAvailable().works ? llistxattr(host).map((name) => toBytes(name)) : []
    })
  }

  /**
   * Implements {@link SyncFs.getxattr}. If attributes are `native`, returns `undefined` without native system calls.
   */
  getxattr(path: ByteString, name: ByteString): Buffer | undefined {
    return this.#at('getxattr', path, (host) => {
      if (this.#attributes !== undefined) return this.#attributes.get({ path, host }, name)
      return libcAvailable().works ? lgetxattr(host, bytesToHost(name)) : undefined
    })
  }

  /** Implements {@link SyncFs.setxattr}. If attributes are `native`, it is `ENOTSUP` without native system calls. */
  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    this.#mayWrite('setxattr', path)
    this.#at('setxattr', path, (host) => {
      if (this.#attributes !== undefined) this.#keepXattr(this.#attributes, host, path, name, value, flag)
      else if (libcAvailable().works) lsetxattr(host, bytesToHost(name), value, flag)
      else throw systemError('ENOTSUP', 'setxattr', host)
    })
  }

  /**
   * Implements {@link SyncFs.removexattr}. If attributes are `native`, it is `ENOTSUP` without native system calls.
   */
  removexattr(path: ByteString, name: ByteString): void {
    this.#mayWrite('removexattr', path)
    this.#at('removexattr', path, (host) => {
      if (this.#attributes !== undefined) {
        mustHold('removexattr', host, this.#stat(host, path), name)
        this.#attributes.remove({ path, host }, name)
      } else if (libcAvailable().works) lremovexattr(host, bytesToHost(name))
      else throw systemError('ENOTSUP', 'removexattr', host)
    })
  }

  /** @internal Whether the root directory's file system stores xattrs in this name's namespace. */
  keepsXattrs(name: ByteString): boolean {
    return this.#at('getxattr', '' as ByteString, (host) => keepsXattr(host, bytesToHost(name)))
  }

  /** @internal Calls `work` with a host path for `path`, which is valid only during the call. See `forget`. */
  onHost<T>(path: ByteString, work: (host: HostPath) => T): T {
    return this.#at('rename', path, work)
  }

  /** @internal Must be called whenever another object is put at `path` by its host path. */
  forget(path: ByteString): void {
    this.#paths.forget(path)
  }

  /** Implements {@link SyncFs.wholeTree}: opens the same root as `untrusted`. */
  wholeTree(): SyncFs {
    return new HostFs({ ...this.spec, readOnly: true, shared: false, untrusted: true })
  }

  /** Implements {@link SyncFs.close}. */
  close(): void {
    this.#paths.close()
    this.#attributes?.close()
  }

  /** Closes the filesystem, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  #at<T>(syscall: string, path: ByteString, work: (host: HostPath) => T): T {
    return this.#paths.at(syscall, path, work)
  }

  #mayWrite(syscall: string, path: ByteString): void {
    if (this.readOnly) throw systemError('EROFS', syscall, bytesToHost(path))
  }

  /** In this filesystem, no directory has an entry for the root. */
  #mayChangeEntry(syscall: string, path: ByteString): void {
    this.#mayWrite(syscall, path)
    if (path === '') throw systemError('EBUSY', syscall, '/')
  }

  #stat(host: HostPath, path: ByteString): SyncStat {
    return this.#seen(host, path, rawStat(lstatSync(host, { bigint: true })))
  }

  #seen(host: HostPath, path: ByteString, inode: SyncStat): SyncStat {
    return this.#attributes?.seen({ path, host }, inode) ?? inode
  }

  #hostMode(type: FileType, mode: number): number {
    return this.#attributes?.hostMode(type, mode) ?? mode
  }

  #entries(directory: string, path: ByteString): SyncDirent[] {
    const entries = listDirectory(directory)
    const attributes = this.#attributes
    if (attributes === undefined) return entries
    return entries.map(({ name, type }) => {
      if (type !== 'file') return { name, type }
      const host = hostPathOf(directory, name)
      return { name, type: attributes.typeOf({ path: joinBytes(path, name), host }) }
    })
  }

  #open(path: ByteString, flags: number, openHost: (host: HostPath) => number): SyncFile {
    if ((flags & O_ACCMODE) !== O_RDONLY || (flags & (O_CREAT | O_TRUNC)) !== 0) this.#mayWrite('open', path)
    return this.#at('open', path, (host) => {
      const append = (flags & O_APPEND) !== 0
      return new HostFile(openHost(host), path, append, this.#attributes)
    })
  }

  #openFile(host: HostPath, path: ByteString, flags: number, mode: number): number {
    if ((flags & O_CREAT) === 0) return this.#openExisting(host, path, flags)
    const hostMode = this.#hostMode('file', mode)
    try {
      const fd = openSync(host as string, flags | O_EXCL | O_NOFOLLOW, hostMode)
      if ((hostMode & ~this.#safeMode) !== 0) this.#correctOpened(fd, path, hostMode)
      this.#keepCreated(host, path, 'file', mode)
      return fd
    } catch (error) {
      if ((flags & O_EXCL) !== 0 || !isErrno(error, 'EEXIST')) throw error
      return this.#openExisting(host, path, flags)
    }
  }

  /** Never opens devices, FIFOs and sockets, which could have effects outside the tree. */
  #openExisting(host: HostPath, path: ByteString, flags: number): number {
    return this.#paths.pin(host, (pinned, inode) => {
      const { type } = this.#seen(host, path, rawStat(inode))
      if (type === 'symlink') throw systemError('ELOOP', 'open', host)
      if (type === 'directory' && (flags & O_CREAT) !== 0) throw systemError('EISDIR', 'open', host)
      if (type !== 'file' && type !== 'directory') throw systemError('ENXIO', 'open', host)
      return openSync(pinned as string, (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_NONBLOCK)
    })
  }

  /**
   * Restores the bits that the umask removed. With `native` attributes, a directory keeps the set-group-ID bit that it
   * inherits from its parent.
   */
  #correctMode(host: HostPath, path: ByteString, mode: number): void {
    this.#paths.pin(host, (pinned, inode) => {
      const has = Number(inode.mode) & 0o7777
      const inherits = this.#attributes === undefined && inode.isDirectory()
      const wanted = inherits ? mode | (has & SET_GROUP_ID) : mode
      if (has === wanted || inode.isSymbolicLink() || this.#inheritsAcl(path)) return
      chmodSync(pinned, wanted)
    })
  }

  #correctOpened(fd: number, path: ByteString, mode: number): void {
    if ((fstatSync(fd).mode & 0o7777) !== mode && !this.#inheritsAcl(path)) fchmodSync(fd, mode)
  }

  /** A default ACL of the parent replaces the umask and decides which of the given bits stay. */
  #inheritsAcl(path: ByteString): boolean {
    return this.#attributes === undefined && this.getxattr(parentOf(path), DEFAULT_ACL) !== undefined
  }

  #keepXattr(
    attributes: Attributes,
    host: HostPath,
    path: ByteString,
    name: ByteString,
    value: Uint8Array,
    flag: 'create' | 'replace' | undefined,
  ): void {
    const inode = rawStat(lstatSync(host, { bigint: true }))
    const stat = attributes.seen({ path, host }, inode)
    mustHold('setxattr', host, stat, name)
    if (inode.type === 'symlink' && !attributes.marksSymlinks) replaceSymlink(attributes, host, path, stat)
    attributes.set({ path, host }, name, value, flag)
  }

  /**
   * As the system does for inodes: an object made in a set-group-ID directory gets the directory's group. A new
   * directory also gets the bit.
   */
  #keepCreated(host: HostPath, path: ByteString, type: FileType, mode: number, device = NO_DEVICE): void {
    if (this.#attributes === undefined) return
    const gid = this.#inheritedGroup(path)
    const bits = gid >= 0 && type === 'directory' ? mode | SET_GROUP_ID : mode
    this.#attributes.keep({ path, host }, { type, mode: bits, uid: 0, gid: Math.max(0, gid), device })
  }

  /** Returns -1 if no group is inherited. */
  #inheritedGroup(path: ByteString): number {
    const { mode, gid } = this.lstat(parentOf(path))
    return (mode & SET_GROUP_ID) === 0 ? -1 : gid
  }

  #keepOwner(attributes: Attributes, host: HostPath, path: ByteString, uid: number, gid: number): void {
    const inode = rawStat(lstatSync(host, { bigint: true }))
    const stat = attributes.seen({ path, host }, inode)
    const kept = ownedBy(stat, uid, gid)
    if (stat.type === 'file') dropCapability(attributes, { path, host })
    if (inode.type !== 'symlink' || attributes.marksSymlinks) attributes.keep({ path, host }, kept)
    else if (kept.uid !== stat.uid || kept.gid !== stat.gid) replaceSymlink(attributes, host, path, kept)
  }
}

function readRegular(host: HostPath, inode: BigIntStats): Buffer {
  if (!inode.isFile()) throw systemError('EINVAL', 'readlink', host)
  return readFileSync(host)
}

function attributesOf(spec: HostFsSpec): Attributes | undefined {
  switch (spec.attributes ?? 'native') {
    case 'native':
      return undefined
    case 'override':
      if (!libcAvailable().works) throw systemError('ENOTSUP', 'setxattr', spec.root)
      return new OverrideStat(spec.root)
    case 'sidecar':
      return new Sidecar(spec.root)
  }
}

function mustHold(syscall: string, host: HostPath, { type }: SyncStat, name: ByteString): void {
  const refusal = xattrRefusal(type, name)
  if (refusal !== undefined) throw systemError(refusal, syscall, host)
}

/** Replaces the symlink, by one rename, with a regular file that shows as that symlink. */
function replaceSymlink(
  attributes: Attributes,
  host: HostPath,
  path: ByteString,
  kept: KeptStat & Pick<SyncStat, 'atimeNs' | 'mtimeNs'>,
): void {
  const target = readlinkSync(host, { encoding: 'buffer' })
  const aside = asideOf(host)
  writeFileSync(aside, target, { flag: 'wx', mode: 0o600 })
  try {
    attributes.keep({ path, host: aside }, kept)
    setTimes(aside, kept.atimeNs, kept.mtimeNs)
    renameSync(aside, host)
  } catch (error) {
    unlinkSync(aside)
    throw error
  }
}

/** A temporary path in the same directory. Its length does not depend on the object's name. */
function asideOf(host: HostPath): Buffer {
  const bytes = Buffer.from(host as string)
  const directory = bytes.subarray(0, bytes.lastIndexOf('/') + 1)
  return Buffer.concat([directory, Buffer.from(`.wh..wh.layerstack.${process.pid}.${(lastAside += 1)}`)])
}

let lastAside = 0

/** Reads names as latin1, one character per byte, which takes half the time of Buffers. */
function listDirectory(directory: string): SyncDirent[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true, encoding: 'latin1' })
    return entries.map((entry) => ({ name: entry.name as ByteString, type: typeOfEntry(entry) }))
  } catch (error) {
    // If the file system reports no types, Node stats each entry by its name encoded as UTF-8. That path may not exist.
    if (isErrno(error, 'ENOENT')) return listWithoutTypes(directory)
    throw error
  }
}

function listWithoutTypes(directory: string): SyncDirent[] {
  return (readdirSync(directory, { encoding: 'latin1' }) as ByteString[]).flatMap((name) => {
    const stat = lstatSync(hostPathOf(directory, name), { bigint: true, throwIfNoEntry: false })
    return stat === undefined ? [] : [{ name, type: rawStat(stat).type }]
  })
}

function isWhiteoutDevice(type: FileType, device: DeviceNumber): boolean {
  return type === 'char' && device.major === 0 && device.minor === 0
}

function setTimes(host: HostPath, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  if (libcAvailable().works) return utimensat(host, atimeNs, mtimeNs)
  const now = lstatSync(host, { bigint: true })
  lutimesSync(host, seconds(atimeNs ?? now.atimeNs), seconds(mtimeNs ?? now.mtimeNs))
}
