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
 * first. Callers have the rights of the layer's root user.
 *
 * Calls reject as in Node, with `code`, `errno`, `syscall` and `path`: `ENOENT`, `ENOTDIR`, `ELOOP` after 40 symlinks.
 * Every change of a read-only layer is `EROFS`. A wrong argument is a `TypeError` or a `RangeError`.
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

  /** Returns a file's content. */
  readFile(path: PathLike, options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>
  /** Returns a file's content as a string in the given encoding. */
  readFile(
    path: PathLike,
    options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal },
  ): Promise<string>
  /**
   * Writes a file from its beginning: creates it, or replaces its content. Chunks of an iterable are written one by
   * one.
   */
  writeFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void>
  /** Writes at the end of a file. Creates the file if it does not exist. */
  appendFile(path: PathLike, data: FileData, options?: BufferEncoding | WriteOptions): Promise<void>
  /**
   * Copies a file's content and mode. An existing target is overwritten.
   * @param mode `constants.COPYFILE_*` of `node:fs`. `COPYFILE_EXCL` rejects an existing target with `EEXIST`
   */
  copyFile(from: PathLike, to: PathLike, mode?: number): Promise<void>
  /**
   * Opens a file. `flags` are Node's names or the bits of open(2). Rejects a FIFO, a socket or a device with `ENXIO`.
   * It is never opened.
   * @param flags default `'r'`
   * @param mode mode of a new file, default `0o644`
   */
  open(path: PathLike, flags?: string | number, mode?: Mode): Promise<LayerFileHandle>
  /** Returns a stream of the file's content. Errors are emitted on the stream. */
  createReadStream(path: PathLike, options?: BufferEncoding | ReadStreamOptions): Readable
  /** Returns a stream that writes to the file. Errors are emitted on the stream. */
  createWriteStream(path: PathLike, options?: BufferEncoding | WriteStreamOptions): Writable

  /**
   * Returns the names in a directory, in no particular order. Decoded as UTF-8 by default; invalid bytes become U+FFFD.
   * With `recursive`, returns the paths of everything below it, relative to `path`. Symlinks to directories are not
   * entered.
   */
  readdir(
    path: PathLike,
    options?:
      | BufferEncoding
      | { encoding?: BufferEncoding | null; withFileTypes?: false; recursive?: boolean },
  ): Promise<string[]>
  /** Returns the names in a directory as bytes, for names that are not UTF-8. */
  readdir(
    path: PathLike,
    options: 'buffer' | { encoding: 'buffer'; withFileTypes?: false; recursive?: boolean },
  ): Promise<Buffer[]>
  /** Returns the entries of a directory with their types. */
  readdir(path: PathLike, options: { withFileTypes: true; recursive?: boolean }): Promise<LayerDirent[]>
  /**
   * Makes a directory. With `recursive`, also makes missing parents, and accepts a directory that exists. Of the mode,
   * only the permission bits and the sticky bit count, as in mkdir(2).
   * @returns with `recursive`, the first directory that was made; otherwise `undefined`
   */
  mkdir(path: PathLike, options?: Mode | { recursive?: boolean; mode?: Mode }): Promise<string | undefined>
  /** Removes an empty directory. Rejects with `ENOTEMPTY` or `ENOTDIR`. */
  rmdir(path: PathLike): Promise<void>
  /**
   * Removes an object. A directory needs `recursive`; without it, rejects with `ERR_FS_EISDIR`. `force` accepts that
   * nothing exists at `path`.
   */
  rm(path: PathLike, options?: { recursive?: boolean; force?: boolean }): Promise<void>
  /** Removes a name of anything but a directory, which is `EISDIR`. */
  unlink(path: PathLike): Promise<void>
  /**
   * Renames an object, and replaces what exists at `to`, as rename(2). A driver may reject a directory of a lower layer
   * with `EXDEV`, as overlayfs does.
   */
  rename(from: PathLike, to: PathLike): Promise<void>
  /** Gives a file another name. A symlink at `existing` is not followed. Rejects with `EPERM` for a directory. */
  link(existing: PathLike, path: PathLike): Promise<void>
  /** Makes a symlink. `target` is stored as given. */
  symlink(target: PathLike, path: PathLike): Promise<void>
  /** Returns the target of a symlink as it is stored. Rejects with `EINVAL` for anything else. */
  readlink(path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null }): Promise<string>
  /** Returns the target of a symlink as bytes. */
  readlink(path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>
  /** Returns the path from the root with every symlink followed. */
  realpath(path: PathLike, options?: BufferEncoding | { encoding?: BufferEncoding | null }): Promise<string>
  /** Returns the same path as bytes. */
  realpath(path: PathLike, options: 'buffer' | { encoding: 'buffer' }): Promise<Buffer>
  /**
   * Makes a FIFO, a socket or a device. Rejects a character device 0:0 with `EPERM`: it is a whiteout and cannot be a
   * file of a layer. The default mode is 0644, the default device number 0:0.
   */
  mknod(
    path: PathLike,
    type: 'fifo' | 'socket' | 'char' | 'block',
    options?: { mode?: Mode; major?: number; minor?: number },
  ): Promise<void>

  /** Returns the attributes of an object. Follows symlinks. */
  stat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  /** Returns the attributes of an object, as exact `bigint`s. Follows symlinks. */
  stat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  /** As `stat`, but does not follow a symlink at the end of the path. */
  lstat(path: PathLike, options?: { bigint?: false }): Promise<LayerStats>
  /** As `stat` with `bigint`, but does not follow a symlink at the end of the path. */
  lstat(path: PathLike, options: { bigint: true }): Promise<LayerBigIntStats>
  /**
   * Checks whether the layer's root user may access an object. Rejects with `EROFS` for `W_OK` in a read-only layer,
   * and with `EACCES` for `X_OK` on a file without an execute bit.
   * @param mode `constants.F_OK`, `R_OK`, `W_OK` and `X_OK` of `node:fs`, default `F_OK`
   */
  access(path: PathLike, mode?: number): Promise<void>
  /** Returns whether something exists at the path. Follows symlinks, so a dangling symlink does not exist. */
  exists(path: PathLike): Promise<boolean>
  /** Sets the permission bits. Follows symlinks. */
  chmod(path: PathLike, mode: Mode): Promise<void>
  /** Sets the owner. An ID of -1 leaves that ID unchanged. IDs go up to 2^32 - 2. Follows symlinks. */
  chown(path: PathLike, uid: number, gid: number): Promise<void>
  /** As `chown`, but does not follow a symlink at the end of the path. */
  lchown(path: PathLike, uid: number, gid: number): Promise<void>
  /**
   * Sets the access time and the modification time. Takes seconds or a `Date`, as in Node. A `bigint` is nanoseconds
   * since 1970. Follows symlinks.
   */
  utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void>
  /** As `utimes`, but does not follow a symlink at the end of the path. */
  lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void>
  /**
   * Sets the size of a file in bytes: cuts it off, or extends it with zeros.
   * @param size default 0
   */
  truncate(path: PathLike, size?: number): Promise<void>

  /** Returns the names of the object's own xattrs. No xattr call follows a symlink at the end of the path. */
  listxattr(path: PathLike): Promise<string[]>
  /** Returns the value of an xattr, or `undefined` if the object has no such xattr. */
  getxattr(path: PathLike, name: string): Promise<Buffer | undefined>
  /**
   * Sets an xattr. A string is stored as UTF-8. Rejects with `ERANGE` for a name that is empty or longer than 255
   * bytes, and with `E2BIG` for a value of more than 65,536 bytes.
   * @param flag `create` rejects an xattr that exists with `EEXIST`; `replace` rejects a missing one with `ENODATA`
   */
  setxattr(
    path: PathLike,
    name: string,
    value: Uint8Array | string,
    flag?: 'create' | 'replace',
  ): Promise<void>
  /** Removes an xattr. Rejects with `ENODATA` if the object has no such xattr. */
  removexattr(path: PathLike, name: string): Promise<void>
}

/** What a file can be written from. Iterables and streams are written chunk by chunk. */
export type FileData =
  | string
  | NodeJS.ArrayBufferView
  | AsyncIterable<NodeJS.ArrayBufferView | string>
  | Iterable<NodeJS.ArrayBufferView | string>
/** A mode as in `node:fs`: permission bits, or a string of octal digits. */
export type Mode = number | string
/** A time: seconds since 1970 as a number or a string, a `Date`, or nanoseconds since 1970 as a `bigint`. */
export type TimeLike = number | string | Date | bigint

/** Options of `createReadStream`, as in `node:fs`. */
export interface ReadStreamOptions {
  /** Encoding of the chunks. @default chunks are Buffers */
  readonly encoding?: BufferEncoding | null
  /** How to open the file. @default 'r' */
  readonly flags?: string
  /** Position of the first byte. @default 0 */
  readonly start?: number
  /** Position of the last byte, which is included. @default the end of the file */
  readonly end?: number
  /** Maximum bytes of a chunk. @default 256 KiB */
  readonly highWaterMark?: number
  /** Aborting destroys the stream with an `AbortError`. */
  readonly signal?: AbortSignal
}

/** Options of `createWriteStream`, as in `node:fs`. */
export interface WriteStreamOptions {
  /** Encoding of written strings. @default 'utf8' */
  readonly encoding?: BufferEncoding | null
  /** How to open the file. @default 'w' */
  readonly flags?: string
  /** Mode of a new file, set as given regardless of the umask. @default 0o644 */
  readonly mode?: Mode
  /** Position of the first write. @default the beginning, or the end with flags 'a' */
  readonly start?: number
  /** Aborting destroys the stream with an `AbortError`. */
  readonly signal?: AbortSignal
}

/** Options of `writeFile` and `appendFile`, as in `node:fs/promises`. */
export interface WriteOptions {
  /** Encoding of written strings. @default 'utf8' */
  readonly encoding?: BufferEncoding | null
  /** Mode of a new file, set as given regardless of the umask. @default 0o644 */
  readonly mode?: Mode
  /** How to open the file. @default 'w', or 'a' in `appendFile` */
  readonly flag?: string
  /** Aborting rejects with the signal's reason. The file may then be incomplete. */
  readonly signal?: AbortSignal
}

/** Which part of a buffer to use, and which position in the file. `null` stands for the handle's own position. */
export interface PieceOptions {
  /** Position in the buffer. @default 0 */
  readonly offset?: number | null
  /** Bytes to read or write. @default the rest of the buffer */
  readonly length?: number | null
  /** Position in the file. @default null, the handle's own position */
  readonly position?: number | null
}

/**
 * An open file, like Node's `FileHandle`. The handle has a position, which starts at 0. Calls without a position use it
 * and move it. Calls take effect in the order in which they were made. After `close`, calls reject with `EBADF`.
 *
 * @example
 * ```ts
 * const file = await container.fs.open('/etc/motd', 'r+')
 * const { buffer, bytesRead } = await file.read({ length: 5, position: 0 })
 * console.log(buffer.toString('utf8', 0, bytesRead))
 * await file.write('HELLO', 0)
 * await file.sync()
 * await file.close()
 * ```
 */
export interface LayerFileHandle extends AsyncDisposable {
  /**
   * Reads into a buffer. The third form of `offset` holds all three values.
   * @returns the number of bytes read, 0 at the end of the file
   */
  read<T extends NodeJS.ArrayBufferView>(
    buffer: T,
    offset?: number | null | PieceOptions,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffer: T }>
  /** Reads into `buffer`, or into a new Buffer of 16 KiB. */
  read<T extends NodeJS.ArrayBufferView = Buffer>(
    options?: PieceOptions & { readonly buffer?: T },
  ): Promise<{ bytesRead: number; buffer: T }>
  /**
   * Writes from a buffer. A file opened with `'a'` is written at its end.
   * @returns the number of bytes written, which may be less than requested
   */
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
  /** Reads a string in the given encoding, from the handle's position to the end. */
  readFile(options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal }): Promise<string>
  /** Writes all data at the handle's position. Does not truncate the file. */
  writeFile(
    data: FileData,
    options?: BufferEncoding | { encoding?: BufferEncoding | null; signal?: AbortSignal } | null,
  ): Promise<void>
  /** Returns the attributes of the file. */
  stat(): Promise<LayerStats>
  /**
   * Sets the size of the file in bytes.
   * @param size default 0
   */
  truncate(size?: number): Promise<void>
  /** Sets the permission bits. */
  chmod(mode: Mode): Promise<void>
  /** Sets the owner. An ID of -1 leaves that ID unchanged. */
  chown(uid: number, gid: number): Promise<void>
  /** Sets the access time and the modification time. */
  utimes(atime: TimeLike, mtime: TimeLike): Promise<void>
  /** Resolves when content and metadata are on disk, as fsync(2). */
  sync(): Promise<void>
  /** Resolves when the content is on disk, as fdatasync(2). */
  datasync(): Promise<void>
  /** Closes the file, after the calls that were made before. */
  close(): Promise<void>
}

/** An entry of a directory, like Node's `Dirent`. */
export interface LayerDirent {
  /** Decoded as UTF-8; invalid bytes become U+FFFD. `nameBytes` is exact. */
  readonly name: string
  /** The bytes of the name. */
  readonly nameBytes: Buffer
  /** The directory of the entry: the path given to `readdir`, and below it with `recursive`. */
  readonly parentPath: string
  /** The type of the object. A symlink is not followed. */
  readonly type: FileType
  /** Whether the object is a regular file. */
  isFile(): boolean
  /** Whether the object is a directory. */
  isDirectory(): boolean
  /** Whether the object is a symlink. */
  isSymbolicLink(): boolean
  /** Whether the object is a FIFO. */
  isFIFO(): boolean
  /** Whether the object is a socket. */
  isSocket(): boolean
  /** Whether the object is a character device. */
  isCharacterDevice(): boolean
  /** Whether the object is a block device. */
  isBlockDevice(): boolean
}

/** The attributes of an object, like Node's `Stats`. */
export interface StatsOf<T extends number | bigint> {
  /** Device of the file system. Two paths are the same file exactly if both `dev` and `ino` are equal. */
  readonly dev: T
  /** Inode number. */
  readonly ino: T
  /** Type and permission bits, as in stat(2). */
  readonly mode: T
  /** Number of hard links. */
  readonly nlink: T
  /** User ID of the owner. */
  readonly uid: T
  /** Group ID of the owner. */
  readonly gid: T
  /** Number of a device node, encoded as in stat(2); 0 for other types. */
  readonly rdev: T
  /** Bytes of a regular file, or length of a symlink's target. */
  readonly size: T
  /** Preferred block size for I/O in bytes: 4096. */
  readonly blksize: T
  /** Allocated space, in units of 512 bytes. */
  readonly blocks: T
  /** Time of the last access, in ms since 1970. */
  readonly atimeMs: T
  /** Time of the last modification, in ms since 1970. */
  readonly mtimeMs: T
  /** Time of the last change of content or attributes, in ms since 1970. */
  readonly ctimeMs: T
  /** Time of creation, in ms since 1970. */
  readonly birthtimeMs: T
  /** Time of the last access. */
  readonly atime: Date
  /** Time of the last modification. */
  readonly mtime: Date
  /** Time of the last change of content or attributes. */
  readonly ctime: Date
  /** Time of creation. */
  readonly birthtime: Date
  /** Whether the object is a regular file. */
  isFile(): boolean
  /** Whether the object is a directory. */
  isDirectory(): boolean
  /** Whether the object is a symlink. */
  isSymbolicLink(): boolean
  /** Whether the object is a FIFO. */
  isFIFO(): boolean
  /** Whether the object is a socket. */
  isSocket(): boolean
  /** Whether the object is a character device. */
  isCharacterDevice(): boolean
  /** Whether the object is a block device. */
  isBlockDevice(): boolean
}

/** The attributes of an object, as numbers. Times are exact to about 1 µs. */
export type LayerStats = StatsOf<number>
/** The attributes of an object, as exact `bigint`s. Times in ms are whole numbers. */
export interface LayerBigIntStats extends StatsOf<bigint> {
  /** Time of the last access, in nanoseconds since 1970. */
  readonly atimeNs: bigint
  /** Time of the last modification, in nanoseconds since 1970. */
  readonly mtimeNs: bigint
  /** Time of the last change of content or attributes, in nanoseconds since 1970. */
  readonly ctimeNs: bigint
  /** Time of creation, in nanoseconds since 1970. */
  readonly birthtimeNs: bigint
}
