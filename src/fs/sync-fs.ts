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

  /** Returns the attributes of an object. `ENOENT` if nothing exists at `path`. */
  lstat(path: ByteString): SyncStat
  /**
   * As `lstat`, but returns `undefined` if an existing directory has no such name. An error costs as much as ten calls.
   */
  find(path: ByteString): SyncStat | undefined
  /** Returns the entries of a directory in no particular order, without `.` and `..`. */
  readdir(path: ByteString): SyncDirent[]
  /** Returns the target of a symlink. `EINVAL` for anything else. */
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
  /** Makes a directory. Sets permission bits as given, regardless of the umask. `open` and `mknod` do the same. */
  mkdir(path: ByteString, mode: number): void
  /** Removes an empty directory, as rmdir(2). */
  rmdir(path: ByteString): void
  /** Removes a name of anything but a directory, as unlink(2). */
  unlink(path: ByteString): void
  /** Renames an object, as rename(2), including which existing objects it replaces. */
  rename(from: ByteString, to: ByteString): void
  /** Gives an object another name, as link(2). */
  link(existing: ByteString, path: ByteString): void
  /** Makes a symlink. `target` is stored as given. */
  symlink(target: ByteString, path: ByteString): void
  /** Makes a FIFO, a socket, or a device with the number `device`. */
  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device?: DeviceNumber,
  ): void

  /** Sets the permission bits. A symlink is `EOPNOTSUPP`, as on Linux. */
  chmod(path: ByteString, mode: number): void
  /** Sets the owner. An ID of -1 leaves that ID unchanged. */
  chown(path: ByteString, uid: number, gid: number): void
  /** Sets the access time and the modification time. `undefined` leaves that time unchanged. */
  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void
  /** Sets the size of a regular file in bytes, as truncate(2). */
  truncate(path: ByteString, size: number): void

  /** Returns the names of the object's own xattrs. */
  listxattr(path: ByteString): ByteString[]
  /** Returns the value of an xattr, or `undefined` if the object has no such xattr. */
  getxattr(path: ByteString, name: ByteString): Buffer | undefined
  /** Sets an xattr. With `create`, an xattr that exists is `EEXIST`. With `replace`, a missing one is `ENODATA`. */
  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void
  /** Removes an xattr. `ENODATA` if the object has no such xattr. */
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

/** The type of an object. */
export type FileType = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'

/** The number of a device node. */
export interface DeviceNumber {
  /** The major number: the kind of device. */
  readonly major: number
  /** The minor number: the device among those of its kind. */
  readonly minor: number
}

/** The attributes of an object. Times are in nanoseconds since 1970. */
export interface SyncStat {
  /** The type of the object. */
  readonly type: FileType
  /** The twelve permission bits. */
  readonly mode: number
  /** User ID of the owner. */
  readonly uid: number
  /** Group ID of the owner. */
  readonly gid: number
  /**
   * Bytes of a regular file, or length of a symlink's target. For other types, 0 or whatever the filesystem reports.
   */
  readonly size: number
  /** Number of hard links. */
  readonly nlink: number
  /** Device of the file system. Two paths are the same file exactly if both `dev` and `ino` are equal. */
  readonly dev: bigint
  /** Inode number. */
  readonly ino: bigint
  /** Number of a device node; 0:0 for other types. */
  readonly device: DeviceNumber
  /** Allocated space, in units of 512 bytes. */
  readonly blocks: number
  /** Time of the last access. */
  readonly atimeNs: bigint
  /** Time of the last modification. */
  readonly mtimeNs: bigint
  /** Time of the last change of content or attributes. */
  readonly ctimeNs: bigint
  /** Time of creation. */
  readonly birthtimeNs: bigint
}

/** An entry of a directory. */
export interface SyncDirent {
  /** The name, without its directory. */
  readonly name: ByteString
  /** The type of the object. */
  readonly type: FileType
}

/** An open regular file. Reads and writes are positional and may be short, as with pread(2) and pwrite(2). */
export interface SyncFile {
  /**
   * The host's descriptor, if the file has one. Callers may use it to read and write on the thread pool, or to clone.
   */
  readonly fd?: number
  /** Reads into the buffer. Returns the number of bytes read, 0 at the end of the file. */
  read(buffer: Uint8Array, position: number): number
  /**
   * Writes the buffer. Returns the number of bytes written. Writes at the end of the file if it was opened with
   * `O_APPEND`.
   */
  write(buffer: Uint8Array, position: number): number
  /** Returns the attributes of the file. */
  stat(): SyncStat
  /** As `listxattr` of the filesystem. Present if the open file itself can be asked. */
  listxattr?(): ByteString[]
  /** As `getxattr` of the filesystem. Present if the open file itself can be asked. */
  getxattr?(name: ByteString): Buffer | undefined
  /** Sets the size in bytes, as ftruncate(2). */
  truncate(size: number): void
  /** Sets the permission bits. */
  chmod(mode: number): void
  /** Sets the owner. An ID of -1 leaves that ID unchanged. */
  chown(uid: number, gid: number): void
  /** Sets the access time and the modification time. `undefined` leaves that time unchanged. */
  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void
  /** Returns when content and metadata are on disk. */
  sync(): void
  /** Closes the file and its descriptor. */
  close(): void
  /**
   * Closes the file but not its descriptor, which the caller then owns. Returns `undefined`, and does nothing, if the
   * file's owner and mode are not stored in its inode.
   */
  detach?(): number | undefined
}

/** A difference between two trees. */
export interface TreeChange {
  /** What turns the lower tree into the upper one. */
  readonly kind: 'add' | 'modify' | 'delete'
  /** Relative to the root. */
  readonly path: ByteString
  /** The attributes in the upper tree. Absent for a deleted object. */
  readonly stat?: SyncStat
}

/**
 * Changes in order. An `undefined` in between is a place to yield. One comes every few objects, and with every piece of
 * two compared contents, even if nothing differs.
 */
export type Comparison = Generator<TreeChange | undefined, void, void>
