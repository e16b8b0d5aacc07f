import type { ByteString } from './bytes.js'

/**
 * `SyncFs` is what a filesystem implements; `LayerFs` is what callers use. One adapter, `layerFs(syncFs)`, makes the second
 * of the first, so each filesystem is written once and small, and the work on whole trees (walk, apply, diff, copy)
 * is written once against this.
 *
 * The terms are few and exact:
 *
 * - **Paths are resolved.** Relative to the root, which is `''`; components parted by one `/`; never `.` or `..`. No
 *   component is followed if it is a symlink: the last one is the object itself (`lstat`, never `stat`), and one in the
 *   middle is `ENOTDIR`. Following symlinks inside the root is the adapter's work (`resolve.ts`).
 * - **Calls are synchronous.** Measured on Linux, a metadata call costs 1 µs this way and 16 µs through the thread pool,
 *   and a copy-up or a rename is one step that no other call of this thread can come between. What may take long is
 *   not here: the adapter reads and writes by `fd` on the thread pool, and whole trees are worked on in a worker thread.
 * - **Errors** are thrown in the shape of Node's `ErrnoException`: `code`, `errno`, `syscall`, `path`.
 * - **Times** are nanoseconds since 1970, signed. **Modes** are the twelve permission bits; the type stands apart.
 */
export interface SyncFs {
  /** True: every call that would change something fails with `EROFS`. */
  readonly readOnly: boolean

  lstat(path: ByteString): SyncStat
  /** As `lstat`, but `undefined` where a directory that is there has no such name: an error costs as much as ten calls. */
  find(path: ByteString): SyncStat | undefined
  /** In no particular order, without `.` and `..`. */
  readdir(path: ByteString): SyncDirent[]
  readlink(path: ByteString): ByteString

  /**
   * Opens a regular file. `flags` are those of open(2) (`O_RDONLY`, `O_CREAT`, `O_EXCL`, `O_TRUNC`, `O_APPEND` …);
   * a symlink is `ELOOP`, a directory opened for writing `EISDIR`.
   */
  open(path: ByteString, flags: number, mode?: number): SyncFile
  /** As `open`, for reading unless `flags` say otherwise, of what is known to be a regular file: saves a look. */
  openSeen?(path: ByteString, flags?: number): SyncFile
  /** Permission bits are set as given, whatever the umask, here and in `open` and `mknod`. */
  mkdir(path: ByteString, mode: number): void
  rmdir(path: ByteString): void
  unlink(path: ByteString): void
  /** As rename(2): replaces what may be replaced. */
  rename(from: ByteString, to: ByteString): void
  link(existing: ByteString, path: ByteString): void
  symlink(target: ByteString, path: ByteString): void
  /** Makes a FIFO, a socket, or a device with the number `device`. */
  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device?: DeviceNumber,
  ): void

  /** Not for symlinks, as on Linux: `EOPNOTSUPP`. */
  chmod(path: ByteString, mode: number): void
  chown(path: ByteString, uid: number, gid: number): void
  /** `undefined` leaves that time alone. */
  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void
  truncate(path: ByteString, size: number): void

  listxattr(path: ByteString): ByteString[]
  /** `undefined` where there is none of this name. */
  getxattr(path: ByteString, name: ByteString): Buffer | undefined
  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void
  /** `ENODATA` where there is none. */
  removexattr(path: ByteString, name: ByteString): void

  /**
   * Makes `path` ready to be written without long work in the call that does it: the copy-up of a large file, done on
   * the thread pool. Only for filesystems that copy up. Resolving means that the next `open` for writing is short.
   * @param stat what `lstat` just told of it, by whom that is known
   */
  prepareWrite?(path: ByteString, signal?: AbortSignal, stat?: SyncStat): Promise<void> | undefined

  /**
   * What turns `lower` into this tree, as `compareTrees` tells it, for filesystems that know it without looking at all of
   * both; `undefined` where they do not.
   */
  compare?(lower: SyncFs): Comparison | undefined

  /** What `compare` would do before it tells of the first change, in small steps. It may be left out, or left. */
  prepareCompare?(lower: SyncFs): Iterable<void>

  /**
   * Trees of one lineage are snapshots of one another: what has the same inode number and was last changed at the same
   * moment in both is the same.
   */
  readonly lineage?: string | undefined

  /**
   * The same tree, opened read-only for work on all of it (`HostFsSpec.untrusted`). The caller closes it. Absent where no
   * other program can change the tree.
   */
  wholeTree?(): SyncFs

  /** Where this filesystem's root is on the host, if its paths are the host's paths there. */
  readonly hostPath?: string

  /** Releases descriptors. May be called twice. */
  close(): void
}

export type FileType = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'

export interface DeviceNumber {
  readonly major: number
  readonly minor: number
}

export interface SyncStat {
  readonly type: FileType
  /** The twelve permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of a regular file; length of a symlink's target; 0 or the filesystem's own idea for others. */
  readonly size: number
  readonly nlink: number
  /** Two paths are one file exactly when both `dev` and `ino` are the same. */
  readonly dev: bigint
  readonly ino: bigint
  /** Of a device node; 0:0 for others. */
  readonly device: DeviceNumber
  /** Allocated, in units of 512 bytes. */
  readonly blocks: number
  readonly atimeNs: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  readonly birthtimeNs: bigint
}

export interface SyncDirent {
  readonly name: ByteString
  readonly type: FileType
}

/** An open regular file. Calls are positional and may be short, as pread(2) and pwrite(2). */
export interface SyncFile {
  /** The host's descriptor, where there is one: lets callers read and write on the thread pool, or clone. */
  readonly fd?: number
  read(buffer: Uint8Array, position: number): number
  /** At the end of the file if it was opened with `O_APPEND`. */
  write(buffer: Uint8Array, position: number): number
  stat(): SyncStat
  /** As the calls of the filesystem, for those that can be asked by the file. */
  listxattr?(): ByteString[]
  getxattr?(name: ByteString): Buffer | undefined
  truncate(size: number): void
  chmod(mode: number): void
  chown(uid: number, gid: number): void
  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void
  /** Returns when content and metadata are on disk. */
  sync(): void
  close(): void
  /**
   * Closes the file, but not its descriptor, which is the caller's from now on. `undefined`, and nothing is done, where its
   * owner and mode are kept anywhere but in its inode.
   */
  detach?(): number | undefined
}

export interface TreeChange {
  readonly kind: 'add' | 'modify' | 'delete'
  readonly path: ByteString
  /** As it is in the upper tree; absent for what was deleted. */
  readonly stat?: SyncStat
}

/**
 * What is found, in order. An `undefined` in between is a place to pause: one comes every few objects, and with every
 * piece of two contents, however much is the same.
 */
export type Comparison = Generator<TreeChange | undefined, void, void>
