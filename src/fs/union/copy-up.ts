import { constants } from 'node:fs'
import { parentOf, type ByteString } from '../bytes.js'
import type { HostFs } from '../host/host-fs.js'
import { isMetacopy, isOverlayXattr } from '../overlay-marks.js'
import { shownXattr } from './overlay-xattr.js'
import type { SyncFile, SyncStat } from '../sync-fs.js'
import { copyAttributes, copyNode, type CopyPlace } from '../trees/copy-node.js'
import { failure } from './failure.js'
import type { UnionLookup } from './lookup.js'
import type { WorkDir } from './work-dir.js'

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
        if (stat.type === 'file' && isMetacopy(place.fs, path, stat)) throw failure('EPERM', 'open', path)
        const original = { fs: place.fs, path, stat }
        const size = Math.min(stat.size, limit)
        copyNode(original, this.#copyAt(name), { size, sync: this.syncs, mode: 'original' })
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

  #make(name: ByteString, mode: number): SyncFile {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    return this.#workspace.fs.open(name, flags, mode)
  }

  /** Sets the attributes of the copy `name` and renames it into place. */
  #finish(from: HostFs, path: ByteString, stat: SyncStat, name: ByteString): void {
    const options = { isLeftOut: isMark, toleratesUnsupported: true, hasMode: true }
    copyAttributes({ fs: from, path, stat }, this.#copyAt(name), options)
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

  #copyAt(name: ByteString): CopyPlace {
    return { fs: this.#workspace.fs, path: name }
  }
}

/** The lower layer's own marks stay behind. */
function isMark(name: ByteString): boolean {
  return isOverlayXattr(name) && shownXattr(name) === undefined
}

export interface StagedCopy {
  readonly from: SyncFile
  readonly to: SyncFile
  /** Puts the copy in place, unless the path shows another object by now. */
  finish(): void
  /** Must be called in any case. */
  release(): void
}
