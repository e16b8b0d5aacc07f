import { constants } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { isErrno } from '../../errors.js'
import { namedError, systemError } from '../../sys/errno.js'
import { bytesOf, checkOwner, DIRECTORY_MODE, FILE_MODE, integer, permissionsOf } from './arguments.js'
import { MAX_MAJOR, MAX_MINOR } from '../attributes.js'
import {
  bytesToBuffer,
  bytesToHost,
  bytesToText,
  joinBytes,
  toBytes,
  type ByteString,
  type PathLike,
} from '../bytes.js'
import { FileHandle } from './file-handle.js'
import type {
  FileData,
  LayerBigIntStats,
  LayerDirent,
  LayerFileHandle,
  LayerFs,
  LayerStats,
  Mode,
  ReadStreamOptions,
  TimeLike,
  WriteOptions,
  WriteStreamOptions,
} from './layer-fs.js'
import { parseFlags } from '../open-flags.js'
import type { SyncDirent, SyncFs, SyncStat } from '../sync-fs.js'
import { removing } from '../trees/remove-tree.js'
import { PATH_MAX, resolve, resolveEntry, type Entry, type Resolved } from '../resolve.js'
import { bigIntStatsOf, direntOf, statsOf } from './stats.js'
import { readStream, writeStream } from './streams.js'
import { nanoseconds } from './times.js'
import { yieldIfDue } from '../../event-loop.js'
import { CallOrder } from './call-order.js'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY, O_RDWR, O_TRUNC, O_APPEND, O_DIRECTORY } = constants
const WRITES = O_WRONLY | O_RDWR
/** mkdir(2) sets no other bits. */
const MKDIR_MODE = 0o1777
/** All bits of `COPYFILE_*`. */
const COPYFILE_ALL = 7
const XATTR_NAME_MAX = 255
const XATTR_SIZE_MAX = 65_536

/**
 * Wraps a `SyncFs` in the interface that callers use. The caller still closes `syncFs`.
 *
 * @example
 * ```ts
 * import { HostFs, layerFs } from 'layerstack/drivers'
 *
 * using tree = new HostFs({ kind: 'host', root: '.' })
 * await layerFs(tree).writeFile('/greeting', 'hello\n')
 * ```
 */
export function layerFs(syncFs: SyncFs): LayerFs {
  return new LayerFsAdapter(syncFs)
}

class LayerFsAdapter implements LayerFs {
  readonly syncFs: SyncFs
  /** Calls that process a whole tree yield midway. Calls made later wait for them. */
  readonly #turn = new CallOrder()

  constructor(syncFs: SyncFs) {
    this.syncFs = syncFs
  }

  readFile(path: PathLike, options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>
  readFile(
    path: PathLike,
    options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal },
  ): Promise<string>
  async readFile(
    path: PathLike,
    options?: BufferEncoding | { encoding?: BufferEncoding | null; signal?: AbortSignal } | null,
  ): Promise<Buffer | string> {
    const { encoding, signal } = typeof options === 'string' ? { encoding: options } : (options ?? {})
    signal?.throwIfAborted()
    await using file = await this.#open(path, 'r')
    const all = await file.readFile(signal && { signal })
    return encoding == null ? all : all.toString(encoding)
  }

  async writeFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void> {
    const {
      encoding,
      mode,
      flag = 'w',
      signal,
    } = typeof options === 'string' ? { encoding: options } : (options ?? {})
    signal?.throwIfAborted()
    const bytes = bytesOf(data, encoding ?? 'utf8')
    await using file = await this.#open(path, flag, mode)
    await file.writeFile(bytes ?? data, { encoding: encoding ?? 'utf8', ...(signal && { signal }) })
  }

  async appendFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void> {
    const given = typeof options === 'string' ? { encoding: options } : options
    await this.writeFile(path, data, { flag: 'a', ...given })
  }

  async copyFile(from: PathLike, to: PathLike, mode = 0): Promise<void> {
    integer('mode', mode, 0, COPYFILE_ALL)
    const exclusive = (mode & constants.COPYFILE_EXCL) === 0 ? 0 : O_EXCL
    try {
      if ((mode & constants.COPYFILE_FICLONE_FORCE) !== 0) throw this.#error('ENOTSUP', 'copyfile', from, to)
      await using source = await this.#open(from, 'r')
      const stat = await source.stat()
      if (stat.isDirectory()) {
        if (!this.#namesDirectory(to)) this.#resolve(to, true, 'open')
        throw this.#error('EISDIR', 'copyfile', from, to)
      }
      await using target = await this.#open(to, O_WRONLY | O_CREAT | exclusive, stat.mode)
      if (await source.isSameFile(target)) return
      await source.copyTo(target)
      await target.chmod(stat.mode & 0o7777)
    } catch (error) {
      throw this.#again(error, 'copyfile', from, to)
    }
  }

  open(path: PathLike, flags: string | number = 'r', mode?: Mode): Promise<LayerFileHandle> {
    return this.#open(path, flags, mode)
  }

  async #open(path: PathLike, flags: string | number, mode?: Mode): Promise<FileHandle> {
    const made = permissionsOf(mode, FILE_MODE)
    await this.#turn.next()
    const bits = parseFlags(flags)
    const created = (bits & O_CREAT) !== 0
    const follow = (bits & O_NOFOLLOW) === 0 && !(created && (bits & O_EXCL) !== 0)
    if (created && (bits & O_DIRECTORY) !== 0) throw this.#error('EINVAL', 'open', path)
    if (created && this.#namesDirectory(path)) throw this.#error('EISDIR', 'open', path)
    const found = this.#resolve(path, follow, 'open')
    const { stat } = found
    if (stat === undefined && !created) throw this.#error('ENOENT', 'open', path)
    if (stat !== undefined && created && (bits & O_EXCL) !== 0) throw this.#error('EEXIST', 'open', path)
    if (stat?.type === 'symlink') {
      throw this.#error((bits & O_DIRECTORY) === 0 ? 'ELOOP' : 'ENOTDIR', 'open', path)
    }
    if (stat?.type === 'directory' && ((bits & WRITES) !== 0 || created))
      throw this.#error('EISDIR', 'open', path)
    if ((bits & O_DIRECTORY) !== 0 && stat?.type !== 'directory') throw this.#error('ENOTDIR', 'open', path)
    if ((bits & WRITES) !== 0 && (bits & O_TRUNC) === 0) await this.#prepare('open', path, found)
    const plain = bits & ~(O_NOFOLLOW | O_DIRECTORY)
    const file = this.#do('open', path, () => this.syncFs.open(found.path, plain, made))
    return new FileHandle(file, (bits & O_APPEND) !== 0)
  }

  createReadStream(path: PathLike, options?: BufferEncoding | ReadStreamOptions): Readable {
    return readStream((...file) => this.open(...file), path, options)
  }

  createWriteStream(path: PathLike, options?: BufferEncoding | WriteStreamOptions): Writable {
    return writeStream((...file) => this.open(...file), path, options)
  }

  readdir(
    path: PathLike,
    options?:
      | BufferEncoding
      | { encoding?: BufferEncoding | null; withFileTypes?: false; recursive?: boolean },
  ): Promise<string[]>
  readdir(
    path: PathLike,
    options: 'buffer' | { encoding: 'buffer'; withFileTypes?: false; recursive?: boolean },
  ): Promise<Buffer[]>
  readdir(path: PathLike, options: { withFileTypes: true; recursive?: boolean }): Promise<LayerDirent[]>
  async readdir(
    path: PathLike,
    given: NameEncoding | ListOptions = {},
  ): Promise<string[] | Buffer[] | LayerDirent[]> {
    const options = typeof given === 'string' ? { encoding: given } : given
    if (options.recursive === true) return this.#turn.pausing(() => this.#listed(path, options))
    await this.#turn.next()
    return this.#listed(path, options)
  }

  async #listed(
    path: PathLike,
    { encoding, withFileTypes = false, recursive = false }: ListOptions,
  ): Promise<string[] | Buffer[] | LayerDirent[]> {
    const { path: top, stat } = this.#existing(path, true, 'scandir')
    if (stat.type !== 'directory') throw this.#error('ENOTDIR', 'scandir', path)
    const parentPath = bytesToText(toBytes(path)).replace(/(?<=.)\/+$/, '')
    const made = withFileTypes
      ? (below: ByteString, entry: SyncDirent) =>
          direntOf(entry, below === '' ? parentPath : `${parentPath}/${bytesToText(below)}`)
      : (below: ByteString, { name }: SyncDirent) => encoded(joinBytes(below, name), encoding)
    const listed: (string | Buffer | LayerDirent)[] = []
    await this.#list(top, '' as ByteString, recursive, (below, entry) => listed.push(made(below, entry)))
    return listed as string[] | Buffer[] | LayerDirent[]
  }

  async mkdir(
    path: PathLike,
    options: Mode | { recursive?: boolean; mode?: Mode } = {},
  ): Promise<string | undefined> {
    const { recursive = false, mode } = typeof options === 'object' ? options : { mode: options }
    const bits = permissionsOf(mode, DIRECTORY_MODE) & MKDIR_MODE
    await this.#turn.next()
    if (recursive) return this.#mkdirs(toBytes(path), bits)
    this.#mkdir(path, bits)
    return undefined
  }

  async rmdir(path: PathLike): Promise<void> {
    await this.#turn.next()
    const { path: real, stat, special } = this.#entry(path, 'rmdir')
    if (special === '/') throw this.#error('EBUSY', 'rmdir', path)
    if (special !== undefined) throw this.#error(special === '.' ? 'EINVAL' : 'ENOTEMPTY', 'rmdir', path)
    if (stat === undefined) throw this.#error('ENOENT', 'rmdir', path)
    if (stat.type !== 'directory') throw this.#error('ENOTDIR', 'rmdir', path)
    this.#do('rmdir', path, () => this.syncFs.rmdir(real))
  }

  rm(path: PathLike, { recursive = false, force = false } = {}): Promise<void> {
    return this.#turn.pausing(() => this.#rm(path, recursive, force))
  }

  async #rm(path: PathLike, recursive: boolean, force: boolean): Promise<void> {
    const found = this.#resolveOrNothing(path, force, false, ['ENOENT'])
    if (found?.stat === undefined) {
      if (force) return
      throw this.#error('ENOENT', 'lstat', path)
    }
    if (found.stat.type === 'directory' && !recursive) {
      throw Object.assign(this.#error('EISDIR', 'rm', path), { code: 'ERR_FS_EISDIR' })
    }
    const { type } = found.stat
    // With a slash after a symlink, the symlink and its target stay, as in Node.
    if (endsInSlash(path) && this.#entry(path, 'rm').stat?.type === 'symlink') return
    const steps = removing(this.syncFs, found.path, type)
    while (this.#do('rm', path, () => steps.next()).done !== true) {
      const turn = yieldIfDue()
      if (turn !== undefined) await turn
    }
  }

  async unlink(path: PathLike): Promise<void> {
    await this.#turn.next()
    const { path: real, stat, special, slash } = this.#entry(path, 'unlink')
    if (special !== undefined) throw this.#error('EISDIR', 'unlink', path)
    if (stat === undefined) throw this.#error('ENOENT', 'unlink', path)
    if (stat.type === 'directory') throw this.#error('EISDIR', 'unlink', path)
    if (slash) throw this.#error('ENOTDIR', 'unlink', path)
    this.#do('unlink', path, () => this.syncFs.unlink(real))
  }

  async rename(from: PathLike, to: PathLike): Promise<void> {
    await this.#turn.next()
    const [source, target] = this.#both('rename', from, to, () => [
      resolveEntry(this.syncFs, from, 'rename'),
      resolveEntry(this.syncFs, to, 'rename'),
    ])
    const fail = (code: string) => this.#error(code, 'rename', from, to)
    if (source.special !== undefined || target.special !== undefined) throw fail('EBUSY')
    if (source.stat === undefined) throw fail('ENOENT')
    if (source.stat.type !== 'directory' && (source.slash || target.slash)) throw fail('ENOTDIR')
    const isIdle = target.stat?.type === 'directory' || target.path === source.path
    // A rename that fails or does nothing must not copy up.
    if (!isIdle) await this.#prepare('rename', from, source, to)
    this.#do('rename', from, () => this.syncFs.rename(source.path, target.path), to)
  }

  async link(existing: PathLike, path: PathLike): Promise<void> {
    await this.#turn.next()
    const fail = (code: string) => this.#error(code, 'link', existing, path)
    const source = this.#both('link', existing, path, () => resolve(this.syncFs, existing, false, 'link'))
    if (source.stat === undefined) throw fail('ENOENT')
    const target = this.#both('link', existing, path, () => resolveEntry(this.syncFs, path, 'link'))
    if (target.special !== undefined || target.stat !== undefined) throw fail('EEXIST')
    if (target.slash) throw fail('ENOENT')
    if (source.stat.type === 'directory') throw fail('EPERM')
    await this.#prepare('link', existing, source, path)
    this.#do('link', existing, () => this.syncFs.link(source.path, target.path), path)
  }

  async symlink(target: PathLike, path: PathLike): Promise<void> {
    await this.#turn.next()
    const fail = (code: string) => this.#error(code, 'symlink', target, path)
    const { length } = toBytes(target)
    if (length === 0) throw fail('ENOENT')
    if (length >= PATH_MAX) throw fail('ENAMETOOLONG')
    const place = this.#both('symlink', target, path, () => resolveEntry(this.syncFs, path, 'symlink'))
    if (place.special !== undefined || place.stat !== undefined) throw fail('EEXIST')
    if (place.slash) throw fail('ENOENT')
    this.#do('symlink', target, () => this.syncFs.symlink(toBytes(target), place.path), path)
  }

  readlink(path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null }): Promise<string>
  readlink(path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>
  async readlink(
    path: PathLike,
    options: NameEncoding | { encoding?: NameEncoding | null } = {},
  ): Promise<string | Buffer> {
    await this.#turn.next()
    const found = this.#existing(path, false, 'readlink')
    if (found.stat.type !== 'symlink') throw this.#error('EINVAL', 'readlink', path)
    const target = this.#do('readlink', path, () => this.syncFs.readlink(found.path))
    return encoded(target, typeof options === 'string' ? options : options.encoding)
  }

  realpath(path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null }): Promise<string>
  realpath(path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>
  async realpath(
    path: PathLike,
    options: NameEncoding | { encoding?: NameEncoding | null } = {},
  ): Promise<string | Buffer> {
    await this.#turn.next()
    const real = `/${this.#existing(path, true, 'realpath').path}` as ByteString
    return encoded(real, typeof options === 'string' ? options : options.encoding)
  }

  async mknod(
    path: PathLike,
    type: 'fifo' | 'socket' | 'char' | 'block',
    options: { mode?: Mode; major?: number; minor?: number } = {},
  ): Promise<void> {
    const mode = permissionsOf(options.mode, FILE_MODE)
    const major = integer('major', options.major ?? 0, 0, MAX_MAJOR)
    const minor = integer('minor', options.minor ?? 0, 0, MAX_MINOR)
    await this.#turn.next()
    const place = this.#entry(path, 'mknod')
    if (place.special !== undefined || place.stat !== undefined) throw this.#error('EEXIST', 'mknod', path)
    if (place.slash) throw this.#error('ENOENT', 'mknod', path)
    if (type === 'char' && major === 0 && minor === 0) throw this.#error('EPERM', 'mknod', path)
    this.#do('mknod', path, () => this.syncFs.mknod(place.path, type, mode, { major, minor }))
  }

  stat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  stat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  async stat(path: PathLike, options: { bigint?: boolean } = {}): Promise<LayerStats | LayerBigIntStats> {
    await this.#turn.next()
    const { stat } = this.#existing(path, true, 'stat')
    return options.bigint === true ? bigIntStatsOf(stat) : statsOf(stat)
  }

  lstat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  lstat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  async lstat(path: PathLike, options: { bigint?: boolean } = {}): Promise<LayerStats | LayerBigIntStats> {
    await this.#turn.next()
    const { stat } = this.#existing(path, false, 'lstat')
    return options.bigint === true ? bigIntStatsOf(stat) : statsOf(stat)
  }

  /**
   * Callers are the layer's root user. Two things fail: executing a file without an execute bit, and writing to a
   * read-only layer.
   */
  async access(path: PathLike, mode: number = constants.F_OK): Promise<void> {
    await this.#turn.next()
    const { stat } = this.#existing(path, true, 'access')
    if ((mode & constants.W_OK) !== 0 && this.syncFs.readOnly) throw this.#error('EROFS', 'access', path)
    if ((mode & constants.X_OK) !== 0 && stat.type !== 'directory' && (stat.mode & 0o111) === 0) {
      throw this.#error('EACCES', 'access', path)
    }
  }

  async exists(path: PathLike): Promise<boolean> {
    await this.#turn.next()
    return this.#resolveOrNothing(path, true, true)?.stat !== undefined
  }

  async chmod(path: PathLike, mode: Mode): Promise<void> {
    const bits = permissionsOf(mode)
    await this.#change(path, true, 'chmod', (real) => this.syncFs.chmod(real, bits))
  }

  async chown(path: PathLike, uid: number, gid: number): Promise<void> {
    checkOwner(uid, gid)
    await this.#change(path, true, 'chown', (real) => this.syncFs.chown(real, uid, gid))
  }

  async lchown(path: PathLike, uid: number, gid: number): Promise<void> {
    checkOwner(uid, gid)
    await this.#change(path, false, 'lchown', (real) => this.syncFs.chown(real, uid, gid))
  }

  async utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
    const [a, m] = [nanoseconds(atime), nanoseconds(mtime)]
    await this.#change(path, true, 'utime', (real) => this.syncFs.utimes(real, a, m))
  }

  async lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
    const [a, m] = [nanoseconds(atime), nanoseconds(mtime)]
    await this.#change(path, false, 'lutime', (real) => this.syncFs.utimes(real, a, m))
  }

  async truncate(path: PathLike, length = 0): Promise<void> {
    const size = Math.max(0, integer('len', length, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))
    const { stat } = this.#existing(path, true, 'open')
    if (stat.type === 'directory') throw this.#error('EISDIR', 'open', path)
    await this.#change(path, true, 'truncate', (real) => this.syncFs.truncate(real, size))
  }

  async listxattr(path: PathLike): Promise<string[]> {
    await this.#turn.next()
    const { path: real } = this.#existing(path, false, 'listxattr')
    return this.#do('listxattr', path, () => this.syncFs.listxattr(real)).map(bytesToText)
  }

  async getxattr(path: PathLike, name: string): Promise<Buffer | undefined> {
    await this.#turn.next()
    this.#checkXattrName('getxattr', path, name)
    const { path: real } = this.#existing(path, false, 'getxattr')
    return this.#do('getxattr', path, () => this.syncFs.getxattr(real, toBytes(name)))
  }

  async setxattr(
    path: PathLike,
    name: string,
    value: Uint8Array | string,
    flag?: 'create' | 'replace',
  ): Promise<void> {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    this.#checkXattrName('setxattr', path, name)
    if (bytes.length > XATTR_SIZE_MAX) throw this.#error('E2BIG', 'setxattr', path)
    await this.#change(path, false, 'setxattr', (real) =>
      this.syncFs.setxattr(real, toBytes(name), bytes, flag),
    )
  }

  async removexattr(path: PathLike, name: string): Promise<void> {
    this.#checkXattrName('removexattr', path, name)
    await this.#change(path, false, 'removexattr', (real) => this.syncFs.removexattr(real, toBytes(name)))
  }

  async #change(
    path: PathLike,
    follow: boolean,
    syscall: string,
    work: (real: ByteString) => void,
  ): Promise<void> {
    await this.#turn.next()
    const found = this.#existing(path, follow, syscall)
    await this.#prepare(syscall, path, found)
    this.#do(syscall, path, () => work(found.path))
  }

  async #prepare(syscall: string, path: PathLike, found: Resolved, dest?: PathLike): Promise<void> {
    const { path: real, stat } = found
    if (stat?.type !== 'file') return
    try {
      await this.syncFs.prepareWrite?.(real, undefined, stat)
    } catch (error) {
      this.#do(syscall, path, () => raise(error), dest)
    }
  }

  /** The kernel also checks the name before the path. */
  #checkXattrName(syscall: string, path: PathLike, name: string): void {
    const { length } = toBytes(name)
    if (length === 0 || length > XATTR_NAME_MAX) throw this.#error('ERANGE', syscall, path)
  }

  async #list(
    top: ByteString,
    below: ByteString,
    recursive: boolean,
    take: (below: ByteString, entry: SyncDirent) => void,
  ): Promise<void> {
    for (const entry of this.#do('scandir', top, () => this.syncFs.readdir(joinedOr(top, below)))) {
      take(below, entry)
      if (!recursive || entry.type !== 'directory') continue
      const turn = yieldIfDue()
      if (turn !== undefined) await turn
      await this.#list(top, joinBytes(below, entry.name), true, take)
    }
  }

  #mkdir(path: PathLike, mode: number): void {
    const place = this.#entry(path, 'mkdir')
    if (place.special !== undefined || place.stat !== undefined) throw this.#error('EEXIST', 'mkdir', path)
    this.#do('mkdir', path, () => this.syncFs.mkdir(place.path, mode))
  }

  /** Returns the first directory that was made, as Node does. */
  #mkdirs(path: ByteString, mode: number): string | undefined {
    const waiting = [path]
    let first: ByteString | undefined
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      try {
        this.#mkdir(bytesToHost(next), mode)
        first ??= next
      } catch (error) {
        const parent = next.slice(0, Math.max(0, next.lastIndexOf('/'))) as ByteString
        if (isErrno(error, 'EEXIST')) this.#mustBeDirectory(next, waiting.length > 0)
        else if (isErrno(error, 'ENOENT') && parent !== '' && first === undefined) waiting.push(next, parent)
        else throw error
      }
    }
    return first === undefined ? undefined : bytesToText(first)
  }

  #mustBeDirectory(path: ByteString, isParent: boolean): void {
    const shownPath = bytesToHost(path)
    const found = isParent
      ? this.#resolveOrNothing(shownPath, true, true)
      : this.#resolve(shownPath, true, 'mkdir')
    if (found?.stat?.type === 'directory') return
    if (isParent) throw this.#error('ENOTDIR', 'mkdir', shownPath)
    throw this.#error(found?.stat === undefined ? 'ENOENT' : 'EEXIST', 'mkdir', shownPath)
  }

  /** Whether the path ends in a slash after a name. `open` cannot make a directory. */
  #namesDirectory(path: PathLike): boolean {
    return endsInSlash(path) && this.#entry(path, 'open').special === undefined
  }

  #entry(path: PathLike, syscall: string): Entry {
    return this.#do(syscall, path, () => resolveEntry(this.syncFs, path, syscall))
  }

  #both<T>(syscall: string, path: PathLike, dest: PathLike, work: () => T): T {
    return this.#do(syscall, path, work, dest)
  }

  #resolve(path: PathLike, follow: boolean, syscall: string): Resolved {
    return this.#do(syscall, path, () => resolve(this.syncFs, path, follow, syscall))
  }

  #existing(path: PathLike, follow: boolean, syscall: string): { path: ByteString; stat: SyncStat } {
    const { path: real, stat } = this.#resolve(path, follow, syscall)
    if (stat === undefined) throw this.#error('ENOENT', syscall, path)
    return { path: real, stat }
  }

  #resolveOrNothing(
    path: PathLike,
    lenient: boolean,
    follow = false,
    nothing: readonly string[] = ['ENOENT', 'ENOTDIR', 'ELOOP'],
  ): Resolved | undefined {
    try {
      return this.#resolve(path, follow, 'lstat')
    } catch (error) {
      if (lenient && isErrno(error, ...nothing)) return undefined
      throw error
    }
  }

  /** Errors name the caller's path and call, not those of the underlying filesystem. */
  #do<T>(syscall: string, path: PathLike, work: () => T, dest?: PathLike): T {
    try {
      return work()
    } catch (error) {
      const { code, errno } = namedError(error, syscall) as NodeJS.ErrnoException
      if (code === undefined || errno === undefined) throw error
      const named = this.#error(code, syscall, path, dest)
      // The underlying error says what is damaged.
      throw code === 'EIO' ? Object.assign(named, { cause: error }) : named
    }
  }

  #again(error: unknown, syscall: string, path: PathLike, dest: PathLike): unknown {
    const { code, errno } = error as NodeJS.ErrnoException
    return code === undefined || errno === undefined ? error : this.#error(code, syscall, path, dest)
  }

  #error(code: string, syscall: string, path: PathLike, dest?: PathLike): NodeJS.ErrnoException {
    return systemError(code, syscall, shown(path), dest === undefined ? undefined : shown(dest))
  }
}

type NameEncoding = BufferEncoding | 'buffer'

interface ListOptions {
  readonly encoding?: NameEncoding | null
  readonly withFileTypes?: boolean
  readonly recursive?: boolean
}

/** Encodes a name or a path as the caller requests. */
function encoded(bytes: ByteString, encoding: NameEncoding | null | undefined): string | Buffer {
  if (encoding === 'buffer') return bytesToBuffer(bytes)
  return encoding == null ? bytesToText(bytes) : bytesToBuffer(bytes).toString(encoding)
}

function raise(error: unknown): never {
  throw error
}

function shown(path: PathLike): string {
  return typeof path === 'string' ? path : Buffer.from(path).toString('utf8')
}

function joinedOr(top: ByteString, below: ByteString): ByteString {
  return below === '' ? top : joinBytes(top, below)
}

function endsInSlash(path: PathLike): boolean {
  return toBytes(path).endsWith('/')
}
