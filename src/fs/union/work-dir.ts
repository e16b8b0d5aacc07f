import { chmodSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno } from '../../errors.js'
import { renameExchange, renameLeavingWhiteout } from '../../sys/rename.js'
import { joinBytes, type ByteString } from '../bytes.js'
import { HostFs } from '../host/host-fs.js'
import type { HostPath } from '../host/host-path.js'
import { makeWhiteoutDevice } from '../overlay-marks.js'
import { removeTree } from '../trees/remove-tree.js'

/** Prefix of names in the upper directory itself. No reader of overlay directories shows such names. */
const BESIDE = '.wh..wh.layerstack.'
const ROOT = '' as ByteString

/**
 * Where objects are completed before they appear in the upper directory, each by one rename.
 *
 * It is `<work>/work`, which a kernel's overlay mount also uses and empties at mount. It is emptied before first use:
 * what a crash left there was never visible. Without a work directory, or if attributes are stored by path, objects are
 * made in the upper's root under reserved names.
 */
export class WorkDir {
  readonly #upper: HostFs
  readonly #directory: string | undefined
  #fs: HostFs | undefined
  #last = 0
  #whiteout: ByteString | undefined

  constructor(upper: HostFs, work: string | undefined) {
    this.#upper = upper
    this.#directory = work === undefined || keepsByPath(upper) ? undefined : join(work, 'work')
  }

  get fs(): HostFs {
    return (this.#fs ??= this.#open())
  }

  /** Returns an unused name in `fs`. */
  next(): ByteString {
    const prefix = this.#directory === undefined ? BESIDE : '#'
    return `${prefix}${(this.#last += 1).toString(16)}` as ByteString
  }

  /**
   * Runs `work`. If objects are made in the upper's root, its times stay the same, whatever `work` makes and moves
   * there.
   */
  leavingTimes<T>(work: () => T): T {
    const { fs } = this
    if (fs !== this.#upper) return work()
    const { atimeNs, mtimeNs } = fs.lstat(ROOT)
    try {
      return work()
    } finally {
      fs.utimes(ROOT, atimeNs, mtimeNs)
    }
  }

  /** Moves a finished object into the upper directory and replaces what a rename may replace. */
  place(name: ByteString, path: ByteString): void {
    if (this.fs === this.#upper) this.#upper.rename(name, path)
    else {
      this.#upper.forget(path)
      onHost(this.fs, name, this.#upper, path, renameSync)
    }
  }

  /**
   * Exchanges an object with the one at `path`, in one step. Returns false, without doing anything, if the host cannot.
   */
  exchange(name: ByteString, path: ByteString): boolean {
    if (this.fs === this.#upper) return false
    this.#upper.forget(path)
    return onHost(this.fs, name, this.#upper, path, renameExchange)
  }

  /**
   * Makes a whiteout in the workspace. Like the kernel, it links an existing whiteout, since a new inode is the
   * expensive part. Returns false, without making anything, if the host refuses.
   */
  makeWhiteout(name: ByteString): boolean {
    if (this.fs === this.#upper) return makeWhiteoutDevice(this.fs, name)
    return this.#linkWhiteout(this.fs, name)
  }

  /** As `makeWhiteout`, at a path of the upper directory where nothing exists. */
  placeWhiteout(path: ByteString): boolean {
    if (this.fs === this.#upper) return makeWhiteoutDevice(this.#upper, path)
    return this.#linkWhiteout(this.#upper, path)
  }

  /** Moves the object at `path` into the workspace, to be discarded. */
  take(path: ByteString): ByteString {
    const name = this.next()
    if (this.fs === this.#upper) this.#upper.rename(path, name)
    else {
      this.#upper.forget(path)
      onHost(this.#upper, path, this.fs, name, renameSync)
    }
    return name
  }

  /** Makes another link in the workspace to the upper directory's `path`. */
  link(path: ByteString, name: ByteString): void {
    if (this.fs === this.#upper) this.#upper.link(path, name)
    else onHost(this.#upper, path, this.fs, name, linkSync)
  }

  /** Removes an object made here, or a directory with nothing but whiteouts. A no-op if it does not exist. */
  discard(name: ByteString): void {
    try {
      if (this.fs.lstat(name).type !== 'directory') return this.fs.unlink(name)
      for (const entry of this.fs.readdir(name)) this.fs.unlink(joinBytes(name, entry.name))
      this.fs.rmdir(name)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
  }

  close(): void {
    if (this.#fs !== this.#upper) this.#fs?.close()
  }

  #linkWhiteout(fs: HostFs, path: ByteString): boolean {
    for (const isSecondTry of [false, true]) {
      if (this.#whiteout === undefined) {
        const made = this.next()
        if (!makeWhiteoutDevice(this.fs, made)) return false
        this.#whiteout = made
      }
      try {
        onHost(this.fs, this.#whiteout, fs, path, linkSync)
        return true
      } catch (error) {
        if (isSecondTry || !isErrno(error, 'EMLINK', 'ENOENT')) throw error
        this.#whiteout = undefined
      }
    }
    return false
  }

  #open(): HostFs {
    if (this.#directory === undefined) {
      for (const { name } of this.#upper.readdir(ROOT)) {
        if (name.startsWith(BESIDE)) removeTree(this.#upper, name)
      }
      return this.#upper
    }
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    chmodSync(this.#directory, 0o700)
    for (const name of readdirSync(this.#directory)) {
      rmSync(join(this.#directory, name), { recursive: true, force: true })
    }
    return new HostFs({ ...this.#upper.spec, root: this.#directory })
  }
}

/** Exchanges two names of one tree. Returns false, without doing anything, if the host cannot. Only Linux can. */
export function exchangeWithin(fs: HostFs, from: ByteString, to: ByteString): boolean {
  if (keepsByPath(fs)) return false
  fs.forget(from)
  fs.forget(to)
  return onHost(fs, from, fs, to, renameExchange)
}

export function renameLeavingWhiteoutWithin(fs: HostFs, from: ByteString, to: ByteString): boolean {
  if (keepsByPath(fs)) return false
  fs.forget(from)
  fs.forget(to)
  return onHost(fs, from, fs, to, renameLeavingWhiteout)
}

/** Whether the tree stores attributes by path. They would stay behind if a host path were moved. */
function keepsByPath(fs: HostFs): boolean {
  return fs.spec.attributes === 'sidecar'
}

/** Calls `call` with the host paths of two objects. */
function onHost<T>(
  from: HostFs,
  path: ByteString,
  to: HostFs,
  newPath: ByteString,
  call: (source: HostPath, target: HostPath) => T,
): T {
  return from.onHost(path, (source) => to.onHost(newPath, (target) => call(source, target)))
}
