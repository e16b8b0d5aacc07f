import { baseOf, parentOf, type ByteString } from '../bytes.js'
import type { HostFs } from '../host/host-fs.js'
import { readOverlayDir } from '../overlay-marks.js'
import type { FileType } from '../sync-fs.js'
import { failure } from './failure.js'

/** What one directory of a union is made of: the listing of all its layers, merged. */
export interface MergedDir {
  /** Names in the upper directory; undefined while the directory is in lower layers alone. */
  upper: Map<ByteString, FileType | 'whiteout'> | undefined
  /** Names that are in the upper directory and have a `.wh.` file beside them, which hides the lower ones for ever. */
  readonly covered: Set<ByteString>
  /** What lower layers show here, whether or not the upper directory has or hides the name. */
  readonly lower: ReadonlyMap<ByteString, LowerName>
  /** The lower layers whose directories are merged here, uppermost first. */
  readonly lowerDirs: readonly number[]
}

/** Where lower layers have a name: the first one shows; a directory is merged with the directories that follow. */
interface LowerName {
  readonly type: FileType
  readonly layers: readonly number[]
}

/** While it is merged. Names in one layer are shared objects and do not grow. */
interface GrowingName extends LowerName {
  readonly layers: number[]
}

const NOTHING: ReadonlyMap<ByteString, LowerName> = new Map()

/** A directory that was just made, and hides what may be below. */
export function newDir(): MergedDir {
  return { upper: new Map(), covered: new Set(), lower: NOTHING, lowerDirs: [] }
}

export function isShown(dir: MergedDir, name: ByteString): boolean {
  const up = dir.upper?.get(name)
  return up === undefined ? dir.lower.has(name) : up !== 'whiteout'
}

/** How overlayfs calls a directory that is made of more than one: it has one link, and cannot be renamed. */
export function isMerged(dir: MergedDir): boolean {
  return dir.lowerDirs.length + (dir.upper === undefined ? 0 : 1) > 1
}

/** Reads directories of the layers and merges them. */
export class DirMerger {
  readonly #upper: HostFs | undefined
  readonly #lowers: readonly HostFs[]
  /** A name in a single layer, the most frequent case by far, is one object for each layer and type. */
  readonly #names = new Map<string, GrowingName>()

  constructor(upper: HostFs | undefined, lowers: readonly HostFs[]) {
    this.#upper = upper
    this.#lowers = lowers
  }

  /**
   * @param layers lower layers that have a directory at `path` and are not hidden by something above it
   * @throws EPERM where a kernel recorded a rename by reference (`redirect_dir=on`), since the tree would be wrong
   */
  merge(path: ByteString, inUpper: boolean, layers: readonly number[]): MergedDir {
    const covered = new Set<ByteString>()
    const top = inUpper ? this.#readUpper(path, covered) : undefined
    const lowerDirs: number[] = []
    const lower = new Map<ByteString, GrowingName>()
    if (top?.opaque !== true) this.#mergeLowers(path, layers, lowerDirs, lower)
    return { upper: top?.names, covered, lower: lower.size === 0 ? NOTHING : lower, lowerDirs }
  }

  #readUpper(path: ByteString, covered: Set<ByteString>) {
    const { entries, whiteouts, opaque } = readDir(this.#upper as HostFs, path)
    const names = new Map<ByteString, FileType | 'whiteout'>()
    for (const { name, type } of entries) names.set(name, type)
    for (const name of whiteouts) {
      if (names.has(name)) covered.add(name)
      else names.set(name, 'whiteout')
    }
    return { names, opaque }
  }

  #mergeLowers(
    path: ByteString,
    layers: readonly number[],
    lowerDirs: number[],
    lower: Map<ByteString, GrowingName>,
  ): void {
    const closed = new Set<ByteString>()
    for (const layer of layers) {
      const { entries, whiteouts, opaque } = readDir(this.#lowers[layer] as HostFs, path)
      lowerDirs.push(layer)
      for (const { name, type } of entries) {
        const above = lower.get(name)
        if (above === undefined) {
          if (!closed.has(name)) lower.set(name, this.#name(type, layer))
        } else if (above.type === 'directory' && !closed.has(name)) {
          if (type !== 'directory') closed.add(name)
          else if (above.layers.length === 1) lower.set(name, { type, layers: [...above.layers, layer] })
          else above.layers.push(layer)
        }
      }
      if (opaque) return
      for (const name of whiteouts) closed.add(name)
    }
  }

  #name(type: FileType, layer: number) {
    const key = type + layer
    let name = this.#names.get(key)
    if (name === undefined) this.#names.set(key, (name = { type, layers: [layer] }))
    return name
  }
}

function readDir(fs: HostFs, path: ByteString) {
  const dir = readOverlayDir(fs, path)
  if (dir.redirected) throw failure('EPERM', 'scandir', path)
  return dir
}

/**
 * Directories by path, of which the ones used least recently are given up: two generations, and when the young one is
 * full it becomes the old one. What is given up is read again from disk, where the truth is.
 */
export class MergedDirCache {
  /** Names; some 60 bytes of memory each. */
  readonly #capacity: number
  #young = new Map<ByteString, MergedDir>()
  #old = new Map<ByteString, MergedDir>()
  #names = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(path: ByteString): MergedDir | undefined {
    const young = this.#young.get(path)
    if (young !== undefined) return young
    const old = this.#old.get(path)
    if (old !== undefined) this.set(path, old)
    return old
  }

  set(path: ByteString, dir: MergedDir): void {
    const names = 8 + dir.lower.size + (dir.upper?.size ?? 0)
    if (this.#names + names > this.#capacity / 2) {
      this.#old = this.#young
      this.#young = new Map()
      this.#names = 0
    }
    this.#young.set(path, dir)
    this.#old.delete(path)
    this.#names += names
  }

  /** Says what the upper directory now has at `path`; the lower layers never change. */
  note(path: ByteString, state: FileType | 'whiteout' | undefined): void {
    const dir = this.get(parentOf(path))
    if (dir?.upper === undefined) return
    const name = baseOf(path)
    if (state === undefined) dir.upper.delete(name)
    else dir.upper.set(name, state)
    dir.covered.delete(name)
    this.#names += state === undefined ? 0 : 1
  }

  /** A copy is in the upper directory; of a directory, without what is in it. */
  noteLifted(path: ByteString, type: FileType): void {
    this.note(path, type)
    if (type !== 'directory') return
    const dir = this.get(path)
    if (dir !== undefined) dir.upper = new Map()
  }

  forget(path: ByteString): void {
    this.#young.delete(path)
    this.#old.delete(path)
  }

  /** Forgets the directory and all below it. */
  forgetTree(path: ByteString): void {
    const below = `${path}/`
    for (const generation of [this.#young, this.#old]) {
      for (const key of generation.keys()) {
        if (key === path || key.startsWith(below)) generation.delete(key)
      }
    }
  }

  clear(): void {
    this.#young.clear()
    this.#old.clear()
    this.#names = 0
  }
}
