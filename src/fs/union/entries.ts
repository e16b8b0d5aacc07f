import { baseOf, joinBytes, parentOf, type ByteString } from '../bytes.js'
import type { CopyUp } from './copy-up.js'
import type { HostFs } from '../host/host-fs.js'
import { isMerged, isShown, newDir, type MergedDir } from './merged-dir.js'
import {
  isMarkName,
  isWhiteoutAt,
  makeOpaque,
  makeWhiteoutFile,
  removeWhiteoutFile,
} from '../overlay-marks.js'
import type { FileType } from '../sync-fs.js'
import { failure } from './failure.js'
import type { Place, UnionLookup } from './lookup.js'
import { exchangeWithin, renameLeavingWhiteoutWithin, type WorkDir } from './work-dir.js'

const SET_GID = 0o2000

/**
 * Changes the names that a union shows: makes, links, moves and removes objects, with the marks that this requires.
 *
 * 1. What was removed or replaced in a lower layer does not show again, neither after a call nor after a crash during
 *    one. (If the host cannot exchange two names in one step, a crash during the call may undo a removal.)
 * 2. A whiteout is made only for a name that lower layers really show.
 * 3. A directory that replaces a whiteout, or that is moved over a lower directory, is opaque.
 */
export class UnionEntries {
  readonly #lookup: UnionLookup
  readonly #upper: HostFs
  readonly #copyUp: CopyUp
  readonly #workspace: WorkDir

  constructor(lookup: UnionLookup, upper: HostFs, copyUp: CopyUp, workspace: WorkDir) {
    this.#lookup = lookup
    this.#upper = upper
    this.#copyUp = copyUp
    this.#workspace = workspace
  }

  /** `make` makes the object at a path of `fs`, which may be the workspace. Nothing may show at `path` yet. */
  create<T>(
    syscall: string,
    path: ByteString,
    type: FileType,
    make: (fs: HostFs, at: ByteString) => T,
    options: { readonly inherit: boolean } = { inherit: true },
  ): T {
    this.#refuseMarkName(syscall, path)
    return this.#changing([path], () => {
      this.#copyUp.liftParent(syscall, path)
      const isHidden = this.#parent(syscall, path).upper?.get(baseOf(path)) === 'whiteout'
      const made = isHidden ? this.#overWhiteout(path, type, make, options.inherit) : make(this.#upper, path)
      this.#lookup.cache.note(path, type)
      if (type === 'directory') this.#lookup.cache.set(path, newDir())
      return made
    })
  }

  link(existing: ByteString, path: ByteString): void {
    const { type } = this.#lookup.require('link', existing)
    if (this.#lookup.find('link', path) !== undefined) throw failure('EEXIST', 'link', path)
    if (type === 'directory') throw failure('EPERM', 'link', existing)
    this.#refuseMarkName('link', path)
    this.#copyUp.lift('link', existing)
    const link = (fs: HostFs, at: ByteString) =>
      fs === this.#upper ? fs.link(existing, at) : this.#workspace.link(existing, at)
    this.create('link', path, type, link, { inherit: false })
  }

  unlink(path: ByteString): void {
    const { type, inUpper } = this.#lookup.require('unlink', path)
    if (type === 'directory') throw failure('EISDIR', 'unlink', path)
    this.#changing([path], () => {
      this.#copyUp.liftParent('unlink', path)
      const hides = this.#mustHide('unlink', path)
      if (!inUpper) this.#makeWhiteout(path)
      else if (hides) this.#replaceByWhiteout(path)
      else this.#upper.unlink(path)
      this.#noteRemoved(path)
    })
  }

  rmdir(path: ByteString): void {
    if (path === '') throw failure('EBUSY', 'rmdir', path)
    this.#lookup.require('rmdir', path)
    const dir = this.#lookup.dir('rmdir', path)
    if (!isEmpty(dir)) throw failure('ENOTEMPTY', 'rmdir', path)
    this.#changing([path], () => {
      this.#copyUp.liftParent('rmdir', path)
      if (dir.upper === undefined) this.#makeWhiteout(path)
      else if (this.#mustHide('rmdir', path)) this.#replaceDirectoryByWhiteout(path)
      else this.#removeDirectory(path)
      this.#lookup.cache.forget(path)
      this.#noteRemoved(path)
    })
  }

  /** As rename(2) on an overlay without `redirect_dir`: a directory from a lower layer, alone or merged, is `EXDEV`. */
  rename(from: ByteString, to: ByteString): void {
    if (from === '' || to === '') throw failure('EBUSY', 'rename', from)
    this.#parent('rename', from)
    this.#parent('rename', to)
    const source = this.#lookup.require('rename', from)
    const target = this.#lookup.find('rename', to)
    if (to.startsWith(`${from}/`)) throw failure('EINVAL', 'rename', to)
    if (from.startsWith(`${to}/`)) throw failure('ENOTEMPTY', 'rename', to)
    if (from === to || this.#isSameFile(from, source, to, target)) return
    this.#refuseMarkName('rename', to)
    this.#checkTypes(source, target, to)
    if (source.type === 'directory' && !this.#canMove(from)) throw failure('EXDEV', 'rename', from)
    if (target?.type === 'directory' && !isEmpty(this.#lookup.dir('rename', to))) {
      throw failure('ENOTEMPTY', 'rename', to)
    }
    this.#changing([from, to], () => this.#move(from, source, to, target))
  }

  #move(from: ByteString, source: Place, to: ByteString, target: Place | undefined): void {
    const isDirectory = source.type === 'directory'
    this.#copyUp.lift('rename', from)
    this.#copyUp.liftParent('rename', to)
    const hidesSource = this.#mustHide('rename', from)
    const mark = this.#markAt('rename', to)
    if (isDirectory && this.#lookup.isBelow('rename', to)) makeOpaque(this.#upper, from)
    if (target?.type === 'directory') this.#emptyForReplacing(to)
    if (mark === 'device' && isDirectory) this.#moveOverWhiteout(from, to, hidesSource)
    else this.#moveInUpper(from, to, hidesSource)
    if (mark === 'file') removeWhiteoutFile(this.#upper, to)
    if (isDirectory) this.#lookup.cache.forgetTree(from)
    this.#lookup.cache.forget(to)
    this.#noteRemoved(from)
    this.#lookup.cache.note(to, source.type)
  }

  #moveInUpper(from: ByteString, to: ByteString, hidesSource: boolean): void {
    if (hidesSource && renameLeavingWhiteoutWithin(this.#upper, from, to)) return
    this.#upper.rename(from, to)
    if (hidesSource) this.#makeWhiteout(from)
  }

  /** A directory cannot be renamed over a device node. */
  #moveOverWhiteout(from: ByteString, to: ByteString, hidesSource: boolean): void {
    if (exchangeWithin(this.#upper, from, to)) {
      if (!hidesSource) this.#upper.unlink(from)
      return
    }
    this.#upper.unlink(to)
    this.#moveInUpper(from, to, hidesSource)
  }

  /** An upper directory that shows as empty may still hold marks, which would make a rename over it fail. */
  #emptyForReplacing(path: ByteString): void {
    const isInUpper = this.#lookup.dir('rename', path).upper !== undefined
    if (!isInUpper || this.#upper.readdir(path).length === 0) return
    makeOpaque(this.#upper, path)
    this.#clear(path)
  }

  #overWhiteout<T>(
    path: ByteString,
    type: FileType,
    make: (fs: HostFs, at: ByteString) => T,
    inherit: boolean,
  ): T {
    const isDevice = this.#markAt('open', path) === 'device'
    if (!isDevice || this.#workspace.fs === this.#upper) {
      if (isDevice) this.#upper.unlink(path)
      return this.#besideWhiteout(path, type, make)
    }
    const name = this.#workspace.next()
    try {
      const made = make(this.#workspace.fs, name)
      if (inherit) this.#inherit(path, type, name)
      if (type === 'directory') {
        makeOpaque(this.#workspace.fs, name)
        this.#placeDirectory(name, path)
      } else {
        this.#workspace.place(name, path)
      }
      return made
    } catch (error) {
      this.#workspace.discard(name)
      throw error
    }
  }

  /** A `.wh.` file hides lower objects until the new object is complete. */
  #besideWhiteout<T>(path: ByteString, type: FileType, make: (fs: HostFs, at: ByteString) => T): T {
    const made = make(this.#upper, path)
    if (type === 'directory') makeOpaque(this.#upper, path)
    removeWhiteoutFile(this.#upper, path)
    return made
  }

  /** Does for objects made in the workspace what the host does for objects made in a set-group-ID directory. */
  #inherit(path: ByteString, type: FileType, name: ByteString): void {
    const parent = this.#upper.lstat(parentOf(path))
    if ((parent.mode & SET_GID) === 0) return
    const { fs } = this.#workspace
    const { uid, mode } = fs.lstat(name)
    fs.chown(name, uid, parent.gid)
    // A chown clears set-ID bits.
    if (type !== 'symlink') fs.chmod(name, type === 'directory' ? mode | SET_GID : mode)
  }

  #placeDirectory(name: ByteString, path: ByteString): void {
    if (this.#workspace.exchange(name, path)) return this.#workspace.discard(name)
    this.#upper.unlink(path)
    this.#workspace.place(name, path)
  }

  #makeWhiteout(path: ByteString): void {
    if (!this.#workspace.placeWhiteout(path)) makeWhiteoutFile(this.#upper, path)
  }

  #replaceByWhiteout(path: ByteString): void {
    const name = this.#workspace.next()
    if (this.#workspace.fs !== this.#upper && this.#workspace.makeWhiteout(name)) {
      this.#workspace.place(name, path)
    } else {
      makeWhiteoutFile(this.#upper, path)
      this.#upper.unlink(path)
    }
  }

  #replaceDirectoryByWhiteout(path: ByteString): void {
    const name = this.#workspace.next()
    if (this.#workspace.fs !== this.#upper && this.#workspace.makeWhiteout(name)) {
      if (this.#workspace.exchange(name, path)) return this.#workspace.discard(name)
      this.#workspace.discard(name)
      const taken = this.#workspace.take(path)
      this.#makeWhiteout(path)
      this.#workspace.discard(taken)
    } else {
      makeWhiteoutFile(this.#upper, path)
      this.#removeDirectory(path)
    }
  }

  #removeDirectory(path: ByteString): void {
    this.#clear(path)
    this.#upper.rmdir(path)
  }

  /** Removes the marks in a directory that shows as empty. */
  #clear(path: ByteString): void {
    for (const { name } of this.#upper.readdir(path)) this.#upper.unlink(joinBytes(path, name))
  }

  #parent(syscall: string, path: ByteString): MergedDir {
    return this.#lookup.dir(syscall, parentOf(path))
  }

  /** Whether lower layers would show through if the upper object were removed. */
  #mustHide(syscall: string, path: ByteString): boolean {
    return this.#lookup.isBelow(syscall, path) && !this.#parent(syscall, path).covered.has(baseOf(path))
  }

  /** The form in which the upper directory hides lower objects at `path`. */
  #markAt(syscall: string, path: ByteString): 'device' | 'file' | undefined {
    const { upper, covered } = this.#parent(syscall, path)
    if (covered.has(baseOf(path))) return 'file'
    if (upper?.get(baseOf(path)) !== 'whiteout') return undefined
    return isWhiteoutAt(this.#upper, path) ? 'device' : 'file'
  }

  #noteRemoved(path: ByteString): void {
    const isCovered = this.#parent('lstat', path).covered.has(baseOf(path))
    const isHidden = isCovered || this.#lookup.isBelow('lstat', path)
    this.#lookup.cache.note(path, isHidden ? 'whiteout' : undefined)
  }

  #canMove(path: ByteString): boolean {
    const dir = this.#lookup.dir('rename', path)
    return dir.upper !== undefined && !isMerged(dir)
  }

  #checkTypes(source: Place, target: Place | undefined, to: ByteString): void {
    if (target === undefined || (source.type === 'directory') === (target.type === 'directory')) return
    throw failure(source.type === 'directory' ? 'ENOTDIR' : 'EISDIR', 'rename', to)
  }

  /**
   * Whether both names belong to one upper file, so that a rename does nothing. Hard links in lower layers count as
   * separate files, because copy-up separates them.
   */
  #isSameFile(from: ByteString, source: Place, to: ByteString, target: Place | undefined): boolean {
    if (!source.inUpper || target?.inUpper !== true || source.type === 'directory') return false
    const a = this.#upper.lstat(from)
    if (a.nlink === 1) return false
    const b = this.#upper.lstat(to)
    return a.ino === b.ino && a.dev === b.dev
  }

  #refuseMarkName(syscall: string, path: ByteString): void {
    if (isMarkName(baseOf(path))) throw failure('EINVAL', syscall, path)
  }

  /** If the change fails midway, drops the cached directories, so that they are read again. */
  #changing<T>(paths: readonly ByteString[], change: () => T): T {
    try {
      return change()
    } catch (error) {
      for (const path of paths) {
        this.#lookup.cache.forgetTree(path)
        this.#lookup.cache.forget(parentOf(path))
      }
      throw error
    }
  }
}

function isEmpty(dir: MergedDir): boolean {
  for (const name of dir.upper?.keys() ?? []) if (isShown(dir, name)) return false
  for (const name of dir.lower.keys()) if (isShown(dir, name)) return false
  return true
}
