import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
  type BigIntStats,
  type Dirent,
} from 'node:fs'
import { isErrno } from '../errors.js'
import { systemError } from '../sys/errno.js'
import { libcAvailable } from '../sys/libc.js'
import { deviceMajor, deviceMinor, mknod } from '../sys/mknod.js'
import { futimens, utimensat } from '../sys/times.js'
import { lgetxattr, llistxattr, lremovexattr, lsetxattr } from '../sys/xattr.js'
import type { Attributes, KeptStat } from './attributes.js'
import { bytesToHost, toBytes, type ByteString } from './bytes.js'
import { GuardedPaths, OwnPaths, type HostPaths } from './host-path.js'
import { OverrideStat } from './override-stat.js'
import type { DeviceNumber, FileType, RawDirent, RawFile, RawFs, RawStat } from './raw-fs.js'
import type { HostFsSpec } from './spec.js'

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants
const O_ACCMODE = 3
const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 }
const UMASK = process.umask()

/**
 * A directory of the host, or a mount, as a filesystem of its own. What is above its root cannot be reached.
 *
 * Times are kept to the nanosecond where system calls can be made, else as exactly as Node's doubles hold them (µs).
 */
export class HostFs implements RawFs {
  readonly spec: HostFsSpec
  readonly hostPath: string
  readonly readOnly: boolean
  readonly #paths: HostPaths
  readonly #attributes: Attributes | undefined

  constructor(spec: HostFsSpec) {
    this.spec = spec
    this.hostPath = spec.root
    this.readOnly = spec.readOnly === true
    this.#paths =
      spec.shared === true && GuardedPaths.available() ? new GuardedPaths(spec.root) : new OwnPaths(spec.root)
    this.#attributes = attributesOf(spec)
  }

  lstat(path: ByteString): RawStat {
    return this.#at('lstat', path, (host) =>
      this.#seen(host, path, rawStat(lstatSync(host, { bigint: true }))),
    )
  }

  readdir(path: ByteString): RawDirent[] {
    return this.#at('scandir', path, (host) => {
      const entries = readDirectory(host)
      return entries.map((entry) => {
        const name = toBytes(entry.name)
        return { name, type: this.#direntType(entry, path, name) }
      })
    })
  }

  readlink(path: ByteString): ByteString {
    return this.#at('readlink', path, (host) => {
      try {
        return toBytes(readlinkSync(host, { encoding: 'buffer' }))
      } catch (error) {
        if (this.#attributes === undefined || !isErrno(error, 'EINVAL')) throw error
        if (this.lstat(path).type !== 'symlink') throw error
        return toBytes(readFileSync(host))
      }
    })
  }

  open(path: ByteString, flags: number, mode = 0o666): RawFile {
    if ((flags & O_ACCMODE) !== O_RDONLY || (flags & O_CREAT) !== 0) this.#mayWrite('open', path)
    return this.#at('open', path, (host) => {
      const fd = this.#openFile(host, path, flags, mode)
      return new HostFile(fd, (flags & O_APPEND) !== 0, this.#attributes && this.#keptAt(path))
    })
  }

  mkdir(path: ByteString, mode: number): void {
    this.#mayWrite('mkdir', path)
    this.#at('mkdir', path, (host) => {
      mkdirSync(host, this.#hostMode('directory', mode))
      this.#created(host, path, 'directory', mode)
    })
  }

  rmdir(path: ByteString): void {
    this.#mayWrite('rmdir', path)
    this.#paths.forget(path)
    this.#at('rmdir', path, (host) => rmdirSync(host))
  }

  unlink(path: ByteString): void {
    this.#mayWrite('unlink', path)
    this.#at('unlink', path, (host) => unlinkSync(host))
  }

  rename(from: ByteString, to: ByteString): void {
    this.#mayWrite('rename', from)
    this.#paths.forget(from)
    this.#paths.forget(to)
    this.#at('rename', from, (source) => this.#at('rename', to, (target) => renameSync(source, target)))
  }

  link(existing: ByteString, path: ByteString): void {
    this.#mayWrite('link', path)
    this.#at('link', existing, (source) => this.#at('link', path, (target) => linkSync(source, target)))
  }

  symlink(target: ByteString, path: ByteString): void {
    this.#mayWrite('symlink', path)
    this.#at('symlink', path, (host) => symlinkSync(bytesToHost(target), host))
  }

  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device = NO_DEVICE,
  ): void {
    this.#mayWrite('mknod', path)
    this.#at('mknod', path, (host) => {
      if (this.#attributes === undefined || isWhiteoutDevice(type, device)) {
        mknod(host, type, mode, device.major, device.minor)
        if ((mode & UMASK) !== 0) chmodSync(host, mode)
      } else {
        writeFileSync(host, '', { flag: 'wx', mode: 0o600 })
        this.#attributes.keep(host, path, { type, mode, uid: 0, gid: 0, device })
      }
    })
  }

  chmod(path: ByteString, mode: number): void {
    this.#mayWrite('chmod', path)
    this.#at('chmod', path, (host) => {
      const stat = this.#seen(host, path, rawStat(lstatSync(host, { bigint: true })))
      if (stat.type === 'symlink') throw systemError('EOPNOTSUPP', 'chmod', host)
      this.#attributes?.keep(host, path, { ...stat, mode })
      chmodSync(host, this.#hostMode(stat.type, mode))
    })
  }

  chown(path: ByteString, uid: number, gid: number): void {
    this.#mayWrite('chown', path)
    this.#at('chown', path, (host) => {
      if (this.#attributes === undefined) lchownSync(host, uid, gid)
      else this.#keepOwner(host, path, uid, gid)
    })
  }

  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#mayWrite('utimes', path)
    this.#at('utimes', path, (host) => setTimes(host, atimeNs, mtimeNs))
  }

  truncate(path: ByteString, size: number): void {
    this.#mayWrite('truncate', path)
    this.#at('truncate', path, (host) => {
      if (lstatSync(host).isSymbolicLink()) throw systemError('ELOOP', 'truncate', host)
      truncateSync(host as string, size)
    })
  }

  listxattr(path: ByteString): ByteString[] {
    return this.#at('listxattr', path, (host) => {
      if (this.#attributes !== undefined) return this.#attributes.list(host, path)
      return libcAvailable().works ? llistxattr(host).map((name) => toBytes(name)) : []
    })
  }

  getxattr(path: ByteString, name: ByteString): Buffer | undefined {
    return this.#at('getxattr', path, (host) => {
      if (this.#attributes !== undefined) return this.#attributes.get(host, path, name)
      return libcAvailable().works ? lgetxattr(host, bytesToHost(name)) : undefined
    })
  }

  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    this.#mayWrite('setxattr', path)
    this.#at('setxattr', path, (host) => {
      if (this.#attributes !== undefined) this.#attributes.set(host, path, name, value, flag)
      else lsetxattr(host, bytesToHost(name), value, flag)
    })
  }

  removexattr(path: ByteString, name: ByteString): void {
    this.#mayWrite('removexattr', path)
    this.#at('removexattr', path, (host) => {
      if (this.#attributes !== undefined) this.#attributes.remove(host, path, name)
      else lremovexattr(host, bytesToHost(name))
    })
  }

  close(): void {
    this.#paths.close()
  }

  #at<T>(syscall: string, path: ByteString, work: (host: string | Buffer) => T): T {
    return this.#paths.at(syscall, path, work)
  }

  #mayWrite(syscall: string, path: ByteString): void {
    if (this.readOnly) throw systemError('EROFS', syscall, bytesToHost(path))
  }

  #seen(host: string | Buffer, path: ByteString, stat: RawStat): RawStat {
    return this.#attributes === undefined ? stat : this.#attributes.seen(host, path, stat)
  }

  #hostMode(type: FileType, mode: number): number {
    return this.#attributes === undefined ? mode : this.#attributes.hostMode(type, mode)
  }

  #direntType(entry: Dirent<Buffer>, directory: ByteString, name: ByteString): FileType {
    const type = typeOf(entry)
    if (this.#attributes === undefined || type !== 'file') return type
    return this.lstat((directory === '' ? name : `${directory}/${name}`) as ByteString).type
  }

  #openFile(host: string | Buffer, path: ByteString, flags: number, mode: number): number {
    const safe = flags | O_NOFOLLOW | O_NONBLOCK
    if ((flags & O_CREAT) === 0) return openRegular(host, safe)
    try {
      const fd = openSync(host as string, safe | O_EXCL, this.#hostMode('file', mode))
      this.#created(host, path, 'file', mode)
      return fd
    } catch (error) {
      if ((flags & O_EXCL) !== 0 || (error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return openRegular(host, safe & ~O_CREAT, 'EISDIR')
    }
  }

  /** Undoes what the umask took, and keeps what the inode does not. */
  #created(host: string | Buffer, path: ByteString, type: FileType, mode: number): void {
    const hostMode = this.#hostMode(type, mode)
    if ((hostMode & (UMASK | 0o7000)) !== 0) chmodSync(host, hostMode)
    this.#attributes?.keep(host, path, { type, mode, uid: 0, gid: 0, device: NO_DEVICE })
  }

  #keepOwner(host: string | Buffer, path: ByteString, uid: number, gid: number): void {
    const attributes = this.#attributes as Attributes
    const stat = this.#seen(host, path, rawStat(lstatSync(host, { bigint: true })))
    const kept: KeptStat = { ...stat, uid: uid === -1 ? stat.uid : uid, gid: gid === -1 ? stat.gid : gid }
    if (stat.type === 'symlink' && lstatSync(host).isSymbolicLink()) {
      if (kept.uid === 0 && kept.gid === 0) return
      const target = readlinkSync(host, { encoding: 'buffer' })
      unlinkSync(host)
      writeFileSync(host, target, { flag: 'wx', mode: 0o600 })
    }
    attributes.keep(host, path, kept)
  }

  #keptAt(path: ByteString): FileAttributes {
    return {
      chmod: (mode) => this.chmod(path, mode),
      chown: (uid, gid) => this.chown(path, uid, gid),
      stat: () => this.lstat(path),
    }
  }
}

/** What a file's handle does by its path, when the inode does not keep it. */
interface FileAttributes {
  chmod(mode: number): void
  chown(uid: number, gid: number): void
  stat(): RawStat
}

class HostFile implements RawFile {
  readonly fd: number
  readonly #append: boolean
  readonly #kept: FileAttributes | undefined
  #open = true

  constructor(fd: number, append: boolean, kept: FileAttributes | undefined) {
    this.fd = fd
    this.#append = append
    this.#kept = kept
  }

  read(buffer: Uint8Array, position: number): number {
    return readSync(this.fd, buffer, 0, buffer.length, position)
  }

  write(buffer: Uint8Array, position: number): number {
    return writeSync(this.fd, buffer, 0, buffer.length, this.#append ? null : position)
  }

  stat(): RawStat {
    const inode = rawStat(fstatSync(this.fd, { bigint: true }))
    if (this.#kept === undefined) return inode
    const { type, mode, uid, gid, device } = this.#kept.stat()
    return { ...inode, type, mode, uid, gid, device }
  }

  truncate(size: number): void {
    ftruncateSync(this.fd, size)
  }

  chmod(mode: number): void {
    if (this.#kept === undefined) fchmodSync(this.fd, mode)
    else this.#kept.chmod(mode)
  }

  chown(uid: number, gid: number): void {
    if (this.#kept === undefined) fchownSync(this.fd, uid, gid)
    else this.#kept.chown(uid, gid)
  }

  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    if (libcAvailable().works) {
      futimens(this.fd, atimeNs, mtimeNs)
      return
    }
    const { atimeNs: atime, mtimeNs: mtime } = this.stat()
    futimesSync(this.fd, seconds(atimeNs ?? atime), seconds(mtimeNs ?? mtime))
  }

  sync(): void {
    fsyncSync(this.fd)
  }

  close(): void {
    if (this.#open) closeSync(this.fd)
    this.#open = false
  }
}

function attributesOf(spec: HostFsSpec): Attributes | undefined {
  switch (spec.attributes ?? 'native') {
    case 'native':
      return undefined
    case 'override':
      return new OverrideStat()
    case 'sidecar':
      throw systemError('ENOTSUP', 'sidecar', spec.root)
  }
}

/** Devices, FIFOs and sockets are not for reading here: opening them can have effects outside the tree. */
function openRegular(host: string | Buffer, flags: number, forDirectory?: 'EISDIR'): number {
  const fd = openSync(host as string, flags)
  const stat = fstatSync(fd)
  if (stat.isFile() || (stat.isDirectory() && forDirectory === undefined)) return fd
  closeSync(fd)
  throw systemError(stat.isDirectory() ? 'EISDIR' : 'ENXIO', 'open', host)
}

/** A symlink is `ENOTDIR`: the directory is opened without following, and read through its descriptor where that can be. */
function readDirectory(host: string | Buffer): Dirent<Buffer>[] {
  const options = { withFileTypes: true, encoding: 'buffer' } as const
  if (process.platform !== 'linux') {
    if (!lstatSync(host).isDirectory()) throw systemError('ENOTDIR', 'scandir', host)
    return readdirSync(host, options) as unknown as Dirent<Buffer>[]
  }
  const fd = openSync(host as string, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  try {
    return readdirSync(`/proc/self/fd/${fd}`, options) as unknown as Dirent<Buffer>[]
  } finally {
    closeSync(fd)
  }
}

function isWhiteoutDevice(type: FileType, device: DeviceNumber): boolean {
  return type === 'char' && device.major === 0 && device.minor === 0
}

function setTimes(host: string | Buffer, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  if (libcAvailable().works) {
    utimensat(host, atimeNs, mtimeNs)
    return
  }
  const { atimeNs: atime, mtimeNs: mtime } = lstatSync(host, { bigint: true })
  lutimesSync(host, seconds(atimeNs ?? atime), seconds(mtimeNs ?? mtime))
}

function seconds(ns: bigint): number {
  return Number(ns) / 1e9
}

function rawStat(stat: BigIntStats): RawStat {
  const mode = Number(stat.mode)
  const type = TYPES.get(mode & 0o170000) ?? 'file'
  return {
    type,
    mode: mode & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: Number(stat.size),
    nlink: Number(stat.nlink),
    dev: stat.dev,
    ino: stat.ino,
    device: type === 'char' || type === 'block' ? deviceOf(stat.rdev) : NO_DEVICE,
    blocks: Number(stat.blocks),
    atimeNs: stat.atimeNs,
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    birthtimeNs: stat.birthtimeNs,
  }
}

function deviceOf(rdev: bigint): DeviceNumber {
  return { major: deviceMajor(rdev), minor: deviceMinor(rdev) }
}

const TYPES = new Map<number, FileType>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
  [0o020000, 'char'],
  [0o060000, 'block'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
])

function typeOf(entry: Dirent<Buffer>): FileType {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  if (entry.isSymbolicLink()) return 'symlink'
  if (entry.isCharacterDevice()) return 'char'
  if (entry.isBlockDevice()) return 'block'
  if (entry.isFIFO()) return 'fifo'
  return 'socket'
}
