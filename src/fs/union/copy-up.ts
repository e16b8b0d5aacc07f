import { constants } from 'node:fs'
import { isErrno } from '../../errors.js'
import { parentOf, type ByteString } from '../bytes.js'
import { copyContent } from '../copy-content.js'
import type { HostFs } from '../host/host-fs.js'
import { isMetacopy, isOverlayXattr } from '../overlay-marks.js'
import { shownXattr } from './overlay-xattr.js'
import type { SyncFile, SyncStat } from '../sync-fs.js'
import { failure } from './failure.js'
import type { UnionLookup } from './lookup.js'
import type { WorkDir } from './work-dir.js'

const SET_ID = 0o6000

/**
 * Copies objects of lower layers into the upper directory, so that they can be changed.
 *
 * 1. An object is complete when it appears in the upper directory: made in the workspace, content synced, attributes
 *    set, then one rename.
 * 2. The directories above it are copied up first. They keep their times, as if nothing had been put into them.
 * 3. The copy shows the same as the original, except its identity: it is another inode, and hard links to the original
 *    stay with the original.
 */
export class CopyUp {
  /** Whether content is on disk before it appears. If not, a crash may leave empty files. */
  readonly syncs: boolean
  readonly #lookup: UnionLookup
  readonly #upper: HostFs
  readonly #workspace: WorkDir
  readonly #onLift: (path: ByteString) => void

  /** @param options.onLift called with each path once its copy is in place */
  constructor(
    lookup: UnionLookup,
    upper: HostFs,
    workspace: WorkDir,
    options: { readonly syncs: boolean; readonly onLift: (path: ByteString) => void },
  ) {
    this.#lookup = lookup
    this.#upper = upper
    this.#workspace = workspace
    this.syncs = options.syncs
    this.#onLift = options.onLift
  }

  /**
   * Copies up the object that shows at `path`, unless the upper directory already has it. Returns whether it did.
   * @param limit bytes of a file's content that will be needed; the rest may be missing
   */
  lift(syscall: string, path: ByteString, limit = Infinity): boolean {
    const place = this.#lookup.require(syscall, path)
    if (place.inUpper) return false
    const stat = place.fs.lstat(path)
    const name = this.#workspace.next()
    return this.#workspace.leavingTimes(() => {
      try {
        this.#copy(place.fs, path, stat, name, Math.min(stat.size, limit))
        this.#finish(place.fs, path, stat, name)
        return true
      } catch (error) {
        this.#workspace.discard(name)
        throw error
      }
    })
  }

  liftParent(syscall: string, path: ByteString): void {
    const parent = parentOf(path)
    if (this.#lookup.dir(syscall, parent).upper === undefined) this.lift(syscall, parent)
  }

  /** Begins the copy of a regular file of the lower layer `fs`. The caller copies the content at its own pace. */
  stage(fs: HostFs, path: ByteString, stat: SyncStat): StagedCopy {
    if (isMetacopy(fs, path, stat)) throw failure('EPERM', 'open', path)
    const name = this.#workspace.next()
    const to = this.#workspace.leavingTimes(() => this.#make(name, stat.mode))
    const from = fs.openSeen(path)
    let isPlaced = false
    return {
      from,
      to,
      finish: () => {
        if (!this.#isStillShown(fs, path)) return
        this.#workspace.leavingTimes(() => this.#finish(fs, path, stat, name))
        isPlaced = true
      },
      release: () => {
        from.close()
        to.close()
        if (!isPlaced) this.#workspace.leavingTimes(() => this.#workspace.discard(name))
      },
    }
  }

  #copy(from: HostFs, path: ByteString, stat: SyncStat, name: ByteString, size: number): void {
    const { fs } = this.#workspace
    switch (stat.type) {
      case 'file':
        return this.#copyFile(from, path, stat, name, size)
      case 'directory':
        return fs.mkdir(name, stat.mode)
      case 'symlink':
        return fs.symlink(from.readlink(path), name)
      case 'char':
      case 'block':
        return fs.mknod(name, stat.type, stat.mode, stat.device)
      case 'fifo':
      case 'socket':
        return fs.mknod(name, stat.type, stat.mode)
    }
  }

  #copyFile(fs: HostFs, path: ByteString, stat: SyncStat, name: ByteString, size: number): void {
    if (isMetacopy(fs, path, stat)) throw failure('EPERM', 'open', path)
    const to = this.#make(name, stat.mode)
    try {
      if (size === 0) return
      const from = fs.openSeen(path)
      try {
        copyContent(from, to, size, stat)
      } finally {
        from.close()
      }
      if (this.syncs) to.sync()
    } finally {
      to.close()
    }
  }

  #make(name: ByteString, mode: number): SyncFile {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    return this.#workspace.fs.open(name, flags, mode)
  }

  /** Sets the attributes of the copy `name` and renames it into place. */
  #finish(from: HostFs, path: ByteString, stat: SyncStat, name: ByteString): void {
    this.#dress(from, path, stat, name)
    this.liftParent('open', path)
    const parent = parentOf(path)
    const { atimeNs, mtimeNs } = this.#upper.lstat(parent)
    this.#workspace.place(name, path)
    this.#upper.utimes(parent, atimeNs, mtimeNs)
    this.#lookup.cache.noteLifted(path, stat.type)
    this.#onLift(path)
  }

  #isStillShown(fs: HostFs, path: ByteString): boolean {
    try {
      const place = this.#lookup.find('open', path)
      return place?.fs === fs && !place.inUpper
    } catch {
      return false
    }
  }

  #dress(from: HostFs, path: ByteString, stat: SyncStat, name: ByteString): void {
    const { fs } = this.#workspace
    fs.chown(name, stat.uid, stat.gid)
    this.#copyXattrs(from, path, name)
    // A chown clears these bits.
    if ((stat.mode & SET_ID) !== 0 && stat.type !== 'symlink') fs.chmod(name, stat.mode)
    fs.utimes(name, stat.atimeNs, stat.mtimeNs)
  }

  #copyXattrs(from: HostFs, path: ByteString, name: ByteString): void {
    for (const xattr of from.listxattr(path)) {
      if (isOverlayXattr(xattr) && shownXattr(xattr) === undefined) continue
      const value = from.getxattr(path, xattr)
      if (value === undefined) continue
      try {
        this.#workspace.fs.setxattr(name, xattr, value)
      } catch (error) {
        if (!isErrno(error, 'EOPNOTSUPP', 'ENOTSUP') || mustKeep(xattr)) throw error
      }
    }
  }
}

/** As in the kernel: without these xattrs, the copy would grant more than the original. */
function mustKeep(xattr: ByteString): boolean {
  return xattr.startsWith('security.') || xattr.startsWith('system.posix_acl_')
}

export interface StagedCopy {
  readonly from: SyncFile
  readonly to: SyncFile
  /** Puts the copy in place, unless the path shows another object by now. */
  finish(): void
  /** Must be called in any case. */
  release(): void
}
