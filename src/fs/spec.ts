/** Describes a filesystem as plain data, so that a worker thread can open the same tree. */
export type SyncFsSpec = HostFsSpec | UnionFsSpec

/** A directory of the host, or a mount. */
export interface HostFsSpec {
  /** Distinguishes a host tree from a union. */
  readonly kind: 'host'
  /** Absolute host path of the root. */
  readonly root: string
  /** Where attributes that the system may refuse are stored. @default 'native' */
  readonly attributes?: AttributeMode
  /**
   * Namespace of the xattrs that mark new opaque directories, for trees in overlay form with `native` attributes. An
   * overlayfs mounted with `userxattr` reads only `user.overlay.*`. Without it, overlayfs reads only
   * `trusted.overlay.*`.
   * @default 'trusted' if this process may set them, else 'user'
   */
  readonly overlayXattrs?: 'trusted' | 'user'
  /** Every change fails with `EROFS`. @default false */
  readonly readOnly?: boolean
  /**
   * For single calls while other programs may change the tree, as in a container's mount. Every call resolves its path
   * again, without following symlinks. This costs some µs per call.
   * @default false
   */
  readonly shared?: boolean
  /**
   * For work on the whole tree while other programs may change it: removing, copying or reading all of it. Directories
   * are reached through descriptors, so a directory that is swapped for a symlink leads nowhere else. Mounts below the
   * root are hidden: the directory or file under the mount point shows instead. If this process has no right to look
   * below a mount, a tree with one is `LAYER_IN_USE`.
   * @default false
   */
  readonly untrusted?: boolean
  /** See `SyncFs.lineage`. */
  readonly lineage?: string
}

/**
 * Where a file's owner, mode, type, device number and xattrs are stored.
 *
 * - `native`: in the inode, as the operating system does. Anything it refuses, such as a chown by an ordinary user, is
 *   an error.
 * - `override`: attributes that the system refuses go to xattrs: `user.containers.override_stat`, as fuse-overlayfs and
 *   containers/storage write it. The inode itself belongs to this process's user and stays readable for that user.
 * - `sidecar`: in the file `<root>.attributes` beside the root directory, for systems or file systems without xattrs
 *   (no koffi, or not Linux). The tree shows the same as under `override`.
 */
export type AttributeMode = 'native' | 'override' | 'sidecar'

/** An overlay in user space: an upper directory over lower ones, merged as overlayfs merges them. */
export interface UnionFsSpec {
  /** Distinguishes a union from a host tree. */
  readonly kind: 'union'
  /** The tree that takes all changes. The union is read-only if absent. */
  readonly upper?: HostFsSpec
  /** Where copy-ups are prepared before they are renamed into place. Must be on the same file system as the upper. */
  readonly work?: string
  /** The trees below, uppermost first. They are only read. */
  readonly lowers: readonly HostFsSpec[]
  /**
   * Skips the sync of copied-up files before they appear. For uppers that will be discarded: after a crash, such files
   * may be empty.
   * @default false
   */
  readonly volatile?: boolean
}
