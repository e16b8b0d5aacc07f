import { baseOf, parentOf, type ByteString } from '../bytes.js'
import type { HostFs } from '../host/host-fs.js'
import { DirMerger, MergedDirCache, type MergedDir } from './merged-dir.js'
import type { FileType } from '../sync-fs.js'
import { failure } from './failure.js'

/** Where the object that a union shows is stored: the same path in one of its layers. */
export interface Place {
  readonly type: FileType
  readonly fs: HostFs
  readonly inUpper: boolean
}

const NAME_MAX = 255

/**
 * Finds what a union shows. Directories are read once, merged and cached. Lower layers never change. While the union is
 * open, nothing else may change the upper directory (as with a kernel's overlay mount).
 */
export class UnionLookup {
  readonly cache: MergedDirCache
  readonly #merger: DirMerger
  readonly #upper: HostFs | undefined
  readonly #lowers: readonly HostFs[]
  readonly #root: Place

  constructor(upper: HostFs | undefined, lowers: readonly HostFs[], rememberedNames: number) {
    const top = upper ?? lowers[0]
    if (top === undefined) throw new TypeError('a union needs an upper or a lower directory')
    this.#root = { type: 'directory', fs: top, inUpper: upper !== undefined }
    this.cache = new MergedDirCache(rememberedNames)
    this.#merger = new DirMerger(upper, lowers)
    this.#upper = upper
    this.#lowers = lowers
  }

  /** Returns `undefined` if the name is not shown. Throws if its directory does not exist. */
  find(syscall: string, path: ByteString): Place | undefined {
    if (path === '') return this.#root
    const parent = this.dir(syscall, parentOf(path))
    const name = baseOf(path)
    const up = parent.upper?.get(name)
    if (up !== undefined) {
      return up === 'whiteout' ? undefined : { type: up, fs: this.#upper as HostFs, inUpper: true }
    }
    const low = parent.lower.get(name)
    if (low !== undefined) {
      return { type: low.type, fs: this.#lowers[low.layers[0] as number] as HostFs, inUpper: false }
    }
    if (name.length > NAME_MAX) throw failure('ENAMETOOLONG', syscall, path)
    return undefined
  }

  require(syscall: string, path: ByteString): Place {
    const place = this.find(syscall, path)
    if (place === undefined) throw failure('ENOENT', syscall, path)
    return place
  }

  /** The directory that shows at `path`. Throws `ENOENT`, or `ENOTDIR` if it or a parent is not a directory. */
  dir(syscall: string, path: ByteString): MergedDir {
    const known = this.cache.get(path)
    if (known !== undefined) return known
    const dir = path === '' ? this.#readRoot() : this.#read(syscall, path)
    this.cache.set(path, dir)
    return dir
  }

  /** Whether lower layers would show something at `path` if the upper directory had nothing there. */
  isBelow(syscall: string, path: ByteString): boolean {
    const parent = this.dir(syscall, parentOf(path))
    return parent.lower.has(baseOf(path))
  }

  #readRoot(): MergedDir {
    return this.#merger.merge('' as ByteString, this.#upper !== undefined, [...this.#lowers.keys()])
  }

  #read(syscall: string, path: ByteString): MergedDir {
    const parent = this.dir(syscall, parentOf(path))
    const name = baseOf(path)
    const up = parent.upper?.get(name)
    const low = parent.lower.get(name)
    const type = up ?? low?.type
    if (type === undefined || type === 'whiteout') throw failure('ENOENT', syscall, path)
    if (type !== 'directory') throw failure('ENOTDIR', syscall, path)
    const merges = low?.type === 'directory' && !parent.covered.has(name)
    return this.#merger.merge(path, up !== undefined, merges ? low.layers : [])
  }
}
