import type { Readable, Writable } from 'node:stream'
import type { PathLike } from './bytes.js'
import type { FileType, RawFs } from './raw-fs.js'

/**
 * One way to read and write a layer: a rooted filesystem with the names and the error shapes of `node:fs/promises`,
 * and what layers need beside: binary xattrs, `mknod`, nanosecond times, `bigint` identity, names of any bytes.
 *
 * `/` is the layer's root, and relative paths start there. Symlinks, absolute and climbing ones too, resolve inside the
 * root, never outside. A path is a string (its UTF-8 bytes) or a `Uint8Array` (its bytes).
 *
 * Calls take effect in the order in which they were made. A call that changes a file of a lower layer copies it up
 * first; nobody else sees that but by the time it takes.
 *
 * @example
 * ```ts
 * await container.fs.writeFile('/etc/motd', 'hello\n')
 * for (const entry of await container.fs.readdir('/etc', { withFileTypes: true })) console.log(entry.name)
 * ```
 */
export interface LayerFs {
  /** The synchronous filesystem beneath, for work on whole trees. */
  readonly raw: RawFs

  readFile(path: PathLike, options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>
  readFile(
    path: PathLike,
    options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal },
  ): Promise<string>
  writeFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void>
  appendFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void>
  copyFile(from: PathLike, to: PathLike): Promise<void>
  open(path: PathLike, flags?: string | number, mode?: number): Promise<LayerFileHandle>
  createReadStream(
    path: PathLike,
    options?: { start?: number; end?: number; highWaterMark?: number },
  ): Readable
  createWriteStream(path: PathLike, options?: { flags?: string; mode?: number; start?: number }): Writable

  readdir(
    path: PathLike,
    options?: { encoding?: BufferEncoding; withFileTypes?: false; recursive?: boolean },
  ): Promise<string[]>
  readdir(
    path: PathLike,
    options: { encoding: 'buffer'; withFileTypes?: false; recursive?: boolean },
  ): Promise<Buffer[]>
  readdir(path: PathLike, options: { withFileTypes: true; recursive?: boolean }): Promise<LayerDirent[]>
  mkdir(
    path: PathLike,
    options?: number | { recursive?: boolean; mode?: number },
  ): Promise<string | undefined>
  rmdir(path: PathLike): Promise<void>
  rm(path: PathLike, options?: { recursive?: boolean; force?: boolean }): Promise<void>
  unlink(path: PathLike): Promise<void>
  rename(from: PathLike, to: PathLike): Promise<void>
  link(existing: PathLike, path: PathLike): Promise<void>
  symlink(target: PathLike, path: PathLike): Promise<void>
  readlink(path: PathLike, options?: { encoding?: BufferEncoding }): Promise<string>
  readlink(path: PathLike, options: { encoding: 'buffer' }): Promise<Buffer>
  /** The path that is left when every symlink is followed, from the root. */
  realpath(path: PathLike): Promise<string>
  /** A character device 0:0 is a whiteout, and no file of a layer: `EPERM`. */
  mknod(
    path: PathLike,
    type: 'fifo' | 'socket' | 'char' | 'block',
    options?: { mode?: number; major?: number; minor?: number },
  ): Promise<void>

  stat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  stat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  lstat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  lstat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  access(path: PathLike, mode?: number): Promise<void>
  exists(path: PathLike): Promise<boolean>
  chmod(path: PathLike, mode: number): Promise<void>
  chown(path: PathLike, uid: number, gid: number): Promise<void>
  lchown(path: PathLike, uid: number, gid: number): Promise<void>
  /** Seconds or a `Date` as in Node; a `bigint` is nanoseconds since 1970. */
  utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void>
  lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void>
  truncate(path: PathLike, size?: number): Promise<void>

  /** Names of the object itself, not of what a symlink points at, here and in the other xattr calls. */
  listxattr(path: PathLike): Promise<string[]>
  getxattr(path: PathLike, name: string): Promise<Buffer | undefined>
  setxattr(
    path: PathLike,
    name: string,
    value: Uint8Array | string,
    flag?: 'create' | 'replace',
  ): Promise<void>
  removexattr(path: PathLike, name: string): Promise<void>
}

export type FileData =
  | string
  | Uint8Array
  | AsyncIterable<Uint8Array | string>
  | Iterable<Uint8Array | string>
export type TimeLike = number | Date | bigint

export interface WriteOptions {
  readonly encoding?: BufferEncoding | null
  readonly mode?: number
  /** @default 'w' */
  readonly flag?: string
  readonly signal?: AbortSignal
}

export interface LayerFileHandle extends AsyncDisposable {
  read(
    buffer: Uint8Array,
    offset?: number,
    length?: number,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffer: Uint8Array }>
  write(
    data: Uint8Array | string,
    offset?: number | null,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: Uint8Array | string }>
  readFile(options?: BufferEncoding): Promise<Buffer | string>
  writeFile(data: FileData): Promise<void>
  stat(): Promise<LayerStats>
  truncate(size?: number): Promise<void>
  chmod(mode: number): Promise<void>
  chown(uid: number, gid: number): Promise<void>
  utimes(atime: TimeLike, mtime: TimeLike): Promise<void>
  sync(): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface LayerDirent {
  /** UTF-8; a name that is none is here with U+FFFD, and whole in `nameBytes`. */
  readonly name: string
  readonly nameBytes: Buffer
  readonly parentPath: string
  readonly type: FileType
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
  isFIFO(): boolean
  isSocket(): boolean
  isCharacterDevice(): boolean
  isBlockDevice(): boolean
}

interface StatsOf<T extends number | bigint> {
  readonly dev: T
  readonly ino: T
  readonly mode: T
  readonly nlink: T
  readonly uid: T
  readonly gid: T
  readonly rdev: T
  readonly size: T
  readonly blksize: T
  readonly blocks: T
  readonly atimeMs: T
  readonly mtimeMs: T
  readonly ctimeMs: T
  readonly birthtimeMs: T
  readonly atime: Date
  readonly mtime: Date
  readonly ctime: Date
  readonly birthtime: Date
  isFile(): boolean
  isDirectory(): boolean
  isSymbolicLink(): boolean
  isFIFO(): boolean
  isSocket(): boolean
  isCharacterDevice(): boolean
  isBlockDevice(): boolean
}

export type LayerStats = StatsOf<number>
export interface LayerBigIntStats extends StatsOf<bigint> {
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly birthtimeNs: bigint
}
