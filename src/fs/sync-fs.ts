import type { ByteString } from './bytes.js'

/**
 * Filesystems implement `SyncFs`; callers use `LayerFs`. One adapter, `layerFs(syncFs)`, turns the first into the
 * second. So each filesystem is written once and stays small. Work on whole trees (walk, apply, diff, copy) is written
 * once against this interface.
 *
 * Conventions:
 *
 * - **Paths are resolved.** They are relative to the root, which is `''`. Components are separated by one `/` and are
 *   never `.` or `..`. No component is followed if it is a symlink: the last one is the object itself (`lstat`, never
 *   `stat`), and one in the middle is `ENOTDIR`. The adapter follows symlinks inside the root (`resolve.ts`).
 * - **Calls are synchronous.** Measured on Linux, a metadata call costs 1 µs this way and 16 µs through the thread
 *   pool. A copy-up or a rename is one step that no other call of this thread can interrupt. Work that may take long is
 *   elsewhere: the adapter reads and writes by `fd` on the thread pool, and worker threads process whole trees.
 * - **Errors** have the shape of Node's `ErrnoException`: `code`, `errno`, `syscall`, `path`.
 * - **Times** are signed nanoseconds since 1970. **Modes** are the twelve permission bits, without the type.
 */
export interface SyncFs {
  /** If true, every call that would change something fails with `EROFS`. */
  readonly readOnly: boolean

  lstat(path: ByteString): SyncStat
  /**
   * As `lstat`, but returns `undefined` if an existing directory has no such name. An error costs as much as ten calls.
   */
  find(path: ByteString): SyncStat | undefined
  /** In no particular order, without `.` and `..`. */
  readdir(path: ByteString): SyncDirent[]
  readlink(path: ByteString): ByteString

  /**
   * Opens a regular file. `flags` are those of open(2) (`O_RDONLY`, `O_CREAT`, `O_EXCL`, `O_TRUNC`, `O_APPEND` …). A
   * symlink is `ELOOP`. A directory opened for writing is `EISDIR`.
   */
  open(path: ByteString, flags: number, mode?: number): SyncFile
  /**
   * As `open`, but `path` is known to be a regular file, which saves a lookup. Opens for reading unless `flags` say
   * otherwise.
   */
  openSeen?(path: ByteString, flags?: number): SyncFile
  /** Sets permission bits as given, regardless of the umask. `open` and `mknod` do the same. */
  mkdir(path: ByteString, mode: number): void
  rmdir(path: ByteString): void
  unlink(path: ByteString): void
  /** As rename(2), including which existing objects it replaces. */
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

  /** A symlink is `EOPNOTSUPP`, as on Linux. */
  chmod(path: ByteString, mode: number): void
  chown(path: ByteString, uid: number, gid: number): void
  /** `undefined` leaves that time unchanged. */
  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void
  truncate(path: ByteString, size: number): void

  listxattr(path: ByteString): ByteString[]
  /** Returns `undefined` if the object has no such xattr. */
  getxattr(path: ByteString, name: ByteString): Buffer | undefined
  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void
  /** `ENODATA` if the object has no such xattr. */
  removexattr(path: ByteString, name: ByteString): void

  /**
   * Prepares `path` for writing: copies a large file up on the thread pool. After it resolves, the next `open` for
   * writing is short. Only for filesystems that copy up.
   * @param stat what `lstat` just returned for `path`, if the caller has it
   */
  prepareWrite?(path: ByteString, signal?: AbortSignal, stat?: SyncStat): Promise<void> | undefined

  /**
   * Finds the changes that turn `lower` into this tree, in the form of `compareTrees`. For filesystems that know them
   * without reading both trees completely. Returns `undefined` if this one does not know them.
   */
  compare?(lower: SyncFs): Comparison | undefined

  /** Does, in small steps, the work that `compare` does before its first change. Callers may skip it or stop early. */
  prepareCompare?(lower: SyncFs): Iterable<void>

  /**
   * Trees of one lineage are snapshots of one another. Objects with the same inode number and the same change time in
   * both trees are the same.
   */
  readonly lineage?: string | undefined

  /**
   * Opens the same tree read-only for work on all of it (`HostFsSpec.untrusted`). The caller closes it. Absent if no
   * other program can change the tree.
   */
  wholeTree?(): SyncFs

  /** Host path of this filesystem's root, if the paths below it are the host's paths. */
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
  /**
   * Bytes of a regular file, or length of a symlink's target. For other types, 0 or whatever the filesystem reports.
   */
  readonly size: number
  readonly nlink: number
  /** Two paths are the same file exactly if both `dev` and `ino` are equal. */
  readonly dev: bigint
  readonly ino: bigint
  /** Number of a device node; 0:0 for other types. */
  readonly device: DeviceNumber
  /** Allocated space, in units of 512 bytes. */
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

/** An open regular file. Reads and writes are positional and may be short, as with pread(2) and pwrite(2). */
export interface SyncFile {
  /**
   * The host's descriptor, if the file has one. Callers may use it to read and write on the thread pool, or to clone.
   */
  readonly fd?: number
  read(buffer: Uint8Array, position: number): number
  /** Writes at the end of the file if it was opened with `O_APPEND`. */
  write(buffer: Uint8Array, position: number): number
  stat(): SyncStat
  /** As the calls of the filesystem. Present if the open file itself can be asked. */
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
   * Closes the file but not its descriptor, which the caller then owns. Returns `undefined`, and does nothing, if the
   * file's owner and mode are not stored in its inode.
   */
  detach?(): number | undefined
}

export interface TreeChange {
  readonly kind: 'add' | 'modify' | 'delete'
  readonly path: ByteString
  /** As in the upper tree. Absent for a deleted object. */
  readonly stat?: SyncStat
}

/**
 * Changes in order. An `undefined` in between is a place to yield. One comes every few objects, and with every piece of
 * two compared contents, even if nothing differs.
 */
export type Comparison = Generator<TreeChange | undefined, void, void>
