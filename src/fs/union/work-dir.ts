import { chmodSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isErrno } from '../../errors.js'
import { renameExchange, renameLeavingWhiteout } from '../../sys/rename.js'
import { joinBytes, type ByteString } from '../bytes.js'
import { HostFs } from '../host/host-fs.js'
import type { HostPath } from '../host/host-path.js'
import { makeWhiteoutDevice } from '../overlay-marks.js'
import { removeTree } from '../trees/remove-tree.js'

/** In the upper directory itself; no reader of overlay directories shows names that begin so. */
const BESIDE = '.wh..wh.layerstack.'
const ROOT = '' as ByteString

/**
 * Where things are made whole before they appear in the upper directory, each by one rename.
 *
 * It is `<work>/work`, which a kernel's overlay mount uses likewise and empties when it is mounted, as we do before the
 * first use: what a crash left there was never seen. Without a work directory, and where attributes are kept by path, things are made
 * in the upper's root, under reserved names.
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

  /** A name in `fs` that nothing has. */
  next(): ByteString {
    const prefix = this.#directory === undefined ? BESIDE : '#'
    return `${prefix}${(this.#last += 1).toString(16)}` as ByteString
  }

  /** Where things are made in the upper's root, its times stay as they are, whatever `work` makes and moves there. */
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

  /** Moves what was made into the upper directory, replacing what a rename may replace. */
  place(name: ByteString, path: ByteString): void {
    if (this.fs === this.#upper) this.#upper.rename(name, path)
    else {
      this.#upper.forget(path)
      onHost(this.fs, name, this.#upper, path, renameSync)
    }
  }

  /** Changes places with what is at `path`, in one step; false, and nothing done, where the host cannot. */
  exchange(name: ByteString, path: ByteString): boolean {
    if (this.fs === this.#upper) return false
    this.#upper.forget(path)
    return onHost(this.fs, name, this.#upper, path, renameExchange)
  }

  /**
   * Makes a whiteout here: a link to one that is kept, as the kernel does, since a new inode is what costs. False, and
   * nothing made, where the host does not let us make one.
   */
  makeWhiteout(name: ByteString): boolean {
    if (this.fs === this.#upper) return makeWhiteoutDevice(this.fs, name)
    return this.#linkWhiteout(this.fs, name)
  }

  /** As `makeWhiteout`, at a path of the upper directory where nothing is. */
  placeWhiteout(path: ByteString): boolean {
    if (this.fs === this.#upper) return makeWhiteoutDevice(this.#upper, path)
    return this.#linkWhiteout(this.#upper, path)
  }

  /** Takes away what is at `path`, to be discarded. */
  take(path: ByteString): ByteString {
    const name = this.next()
    if (this.fs === this.#upper) this.#upper.rename(path, name)
    else {
      this.#upper.forget(path)
      onHost(this.#upper, path, this.fs, name, renameSync)
    }
    return name
  }

  /** Makes a further link to the upper directory's `path`. */
  link(path: ByteString, name: ByteString): void {
    if (this.fs === this.#upper) this.#upper.link(path, name)
    else onHost(this.#upper, path, this.fs, name, linkSync)
  }

  /** Removes something made here, or a directory that has nothing but whiteouts; harmless when it is gone. */
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

/** Renames within one directory tree that hosts other than Linux do not have; false, and nothing done, without them. */
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

/** What such a tree keeps of a path would stay behind when its host path is moved. */
function keepsByPath(fs: HostFs): boolean {
  return fs.spec.attributes === 'sidecar'
}

/** Makes a call on two objects by their paths on the host. */
function onHost<T>(
  from: HostFs,
  path: ByteString,
  to: HostFs,
  newPath: ByteString,
  call: (source: HostPath, target: HostPath) => T,
): T {
  return from.onHost(path, (source) => to.onHost(newPath, (target) => call(source, target)))
}
