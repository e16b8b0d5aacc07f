import type { Readable, Writable } from 'node:stream'
import type { PathLike } from '../bytes.js'
import type { FileType, SyncFs } from '../sync-fs.js'

/**
 * Reads and writes a layer: a rooted filesystem with the names and the error shapes of `node:fs/promises`. It adds what
 * layers need: binary xattrs, `mknod`, nanosecond times, `bigint` identity, names of any bytes.
 *
 * `/` is the layer's root, and relative paths start there. Symlinks resolve inside the root, never outside, even if
 * they are absolute or climb with `..`. A path is a string (its UTF-8 bytes) or a `Uint8Array` (its bytes).
 *
 * Calls take effect in the order in which they were made. A call that changes a file of a lower layer copies it up
 * first.
 *
 * Modes are set as given, regardless of the process's umask. By default, new files are 0644 and new directories 0755. A
 * default ACL of the parent directory in the layer applies, as on Linux.
 *
 * @example
 * ```ts
 * await container.fs.writeFile('/etc/motd', 'hello\n')
 * for (const entry of await container.fs.readdir('/etc', { withFileTypes: true })) console.log(entry.name)
 * ```
 */
export interface LayerFs {
  /** The underlying synchronous filesystem, for work on whole trees. */
  readonly syncFs: SyncFs

  readFile(path: PathLike, options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>
  readFile(
    path: PathLike,
    options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal },
  ): Promise<string>
  writeFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void>
  appendFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void>
  /** @param mode `constants.COPYFILE_*` of `node:fs`. `COPYFILE_EXCL` rejects an existing target with `EEXIST` */
  copyFile(from: PathLike, to: PathLike, mode?: number): Promise<void>
  /** Rejects a FIFO, a socket or a device with `ENXIO`. It is never opened. */
  open(path: PathLike, flags?: string | number, mode?: Mode): Promise<LayerFileHandle>
  createReadStream(path: PathLike, options?: BufferEncoding | ReadStreamOptions): Readable
  createWriteStream(path: PathLike, options?: BufferEncoding | WriteStreamOptions): Writable

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
  mkdir(path: PathLike, options?: Mode | { recursive?: boolean; mode?: Mode }): Promise<string | undefined>
  rmdir(path: PathLike): Promise<void>
  rm(path: PathLike, options?: { recursive?: boolean; force?: boolean }): Promise<void>
  unlink(path: PathLike): Promise<void>
  rename(from: PathLike, to: PathLike): Promise<void>
  link(existing: PathLike, path: PathLike): Promise<void>
  symlink(target: PathLike, path: PathLike): Promise<void>
  readlink(path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null }): Promise<string>
  readlink(path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>
  /** Returns the path from the root with every symlink followed. */
  realpath(path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null }): Promise<string>
  realpath(path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>
  /** Rejects a character device 0:0 with `EPERM`: it is a whiteout and cannot be a file of a layer. */
  mknod(
    path: PathLike,
    type: 'fifo' | 'socket' | 'char' | 'block',
    options?: { mode?: Mode; major?: number; minor?: number },
  ): Promise<void>

  stat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  stat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  lstat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  lstat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  access(path: PathLike, mode?: number): Promise<void>
  exists(path: PathLike): Promise<boolean>
  chmod(path: PathLike, mode: Mode): Promise<void>
  /** An ID of -1 leaves that ID unchanged. IDs go up to 2^32 - 2. */
  chown(path: PathLike, uid: number, gid: number): Promise<void>
  lchown(path: PathLike, uid: number, gid: number): Promise<void>
  /** Takes seconds or a `Date`, as in Node. A `bigint` is nanoseconds since 1970. */
  utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void>
  lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void>
  truncate(path: PathLike, size?: number): Promise<void>

  /** Returns the names of the object's own xattrs. No xattr call follows a symlink at the end of the path. */
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
  | NodeJS.ArrayBufferView
  | AsyncIterable<NodeJS.ArrayBufferView | string>
  | Iterable<NodeJS.ArrayBufferView | string>
/** A mode as in `node:fs`: permission bits, or a string of octal digits. */
export type Mode = number | string
export type TimeLike = number | string | Date | bigint

export interface ReadStreamOptions {
  /** @default chunks are Buffers */
  readonly encoding?: BufferEncoding | null
  /** @default 'r' */
  readonly flags?: string
  /** Position of the first byte. `end` is the position of the last byte. @default the whole file */
  readonly start?: number
  readonly end?: number
  readonly highWaterMark?: number
  readonly signal?: AbortSignal
}

export interface WriteStreamOptions {
  /** Encoding of written strings. @default 'utf8' */
  readonly encoding?: BufferEncoding | null
  /** @default 'w' */
  readonly flags?: string
  /** Mode of a new file, set as given regardless of the umask. @default 0o644 */
  readonly mode?: Mode
  /** Position of the first write. @default the beginning, or the end with flags 'a' */
  readonly start?: number
  readonly signal?: AbortSignal
}

export interface WriteOptions {
  readonly encoding?: BufferEncoding | null
  /** Mode of a new file, set as given regardless of the umask. @default 0o644 */
  readonly mode?: Mode
  /** @default 'w' */
  readonly flag?: string
  readonly signal?: AbortSignal
}

/** Which part of a buffer to use, and which position in the file. `null` stands for the handle's own position. */
export interface PieceOptions {
  /** @default 0 */
  readonly offset?: number | null
  /** @default the rest of the buffer */
  readonly length?: number | null
  /** @default null */
  readonly position?: number | null
}

export interface LayerFileHandle extends AsyncDisposable {
  read<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    offset?: number | null | PieceOptions,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffer: T }>
  read<T extends NodeJS.ArrayBufferView = Buffer>(
    options?: PieceOptions & { readonly buffer?: T },
  ): Promise<{ bytesRead: number; buffer: T }>
  write<T extends NodeJS.ArrayBufferView>(
    data: T,
    offset?: number | null | PieceOptions,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: T }>
  /** Writes a string, without an offset or a length. */
  write(
    data: string,
    position?: number | null,
    encoding?: BufferEncoding | null,
  ): Promise<{ bytesWritten: number; buffer: string }>
  /** Reads from the handle's position to the end. */
  readFile(options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>
  readFile(options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal }): Promise<string>
  writeFile(
    data: FileData,
    options?: BufferEncoding | { encoding?: BufferEncoding | null; signal?: AbortSignal } | null,
  ): Promise<void>
  stat(): Promise<LayerStats>
  truncate(size?: number): Promise<void>
  chmod(mode: Mode): Promise<void>
  chown(uid: number, gid: number): Promise<void>
  utimes(atime: TimeLike, mtime: TimeLike): Promise<void>
  sync(): Promise<void>
  datasync(): Promise<void>
  close(): Promise<void>
}

export interface LayerDirent {
  /** Decoded as UTF-8; invalid bytes become U+FFFD. `nameBytes` is exact. */
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
