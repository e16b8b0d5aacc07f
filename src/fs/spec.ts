/**
 * Filesystems as plain data: what a worker thread is handed so that it can open the same tree for itself.
 */
export type SyncFsSpec = HostFsSpec | UnionFsSpec

/** A directory of the host, or a mount. */
export interface HostFsSpec {
  readonly kind: 'host'
  /** Absolute host path of the root. */
  readonly root: string
  /** @default 'native' */
  readonly attributes?: AttributeMode
  /**
   * The xattrs that mark opaque directories as they are written, in trees in overlay form under `native` keeping:
   * an overlayfs mounted with `userxattr` reads `user.overlay.*` alone, one without `trusted.overlay.*` alone.
   * @default 'trusted' where this process may set them, else 'user'
   */
  readonly overlayXattrs?: 'trusted' | 'user'
  /** @default false */
  readonly readOnly?: boolean
  /**
   * For single calls while other programs may change the tree, as in a container's mount: every call resolves its path
   * anew, without following symlinks. Costs some µs a call.
   * @default false
   */
  readonly shared?: boolean
  /**
   * For work on the whole tree while other programs may change it: removing, copying, reading all of it. Directories are
   * reached by descriptors, so a directory that is swapped for a symlink leads nowhere else. What is mounted below the
   * root does not show: the directory or file under the mount point does. Without the right to look below a mount, a
   * tree that has one is `LAYER_IN_USE`.
   * @default false
   */
  readonly untrusted?: boolean
  /** See `SyncFs.lineage`. */
  readonly lineage?: string
}

/**
 * Where a file's owner, mode, type, device number and xattrs are kept.
 *
 * - `native`: in the inode, as the operating system does. What it refuses (a chown by an ordinary user) is an error.
 * - `override`: what the system refuses goes to xattrs: `user.containers.override_stat`, as fuse-overlayfs and
 *   containers/storage write it. The inode itself belongs to whoever runs this and stays readable for them.
 * - `sidecar`: in a file beside the root directory, `<root>.attributes`, for systems or file systems without xattrs
 *   (no koffi, no Linux). What is there reads as under `override`.
 */
export type AttributeMode = 'native' | 'override' | 'sidecar'

/** A userspace overlay: an upper directory over lower ones, as overlayfs merges them. */
export interface UnionFsSpec {
  readonly kind: 'union'
  /** Absent: read-only. */
  readonly upper?: HostFsSpec
  /** On the same file system as the upper: where a copy-up is prepared before it is renamed into place. */
  readonly work?: string
  /** Uppermost first. */
  readonly lowers: readonly HostFsSpec[]
  /**
   * Files that are copied up are not synced before they appear: for uppers that are thrown away. After a crash they may
   * be empty.
   * @default false
   */
  readonly volatile?: boolean
}
