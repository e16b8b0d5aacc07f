import { baseOf, parentOf, type ByteString } from '../bytes.js'
import type { HostFs } from '../host/host-fs.js'
import { readOverlayDir } from '../overlay-marks.js'
import type { FileType } from '../sync-fs.js'
import { failure } from './failure.js'

/** One directory of a union: the merged listing of all its layers. */
export interface MergedDir {
  /** Names in the upper directory. `undefined` while only lower layers have the directory. */
  upper: Map<ByteString, FileType | 'whiteout'> | undefined
  /** Names in the upper directory with a `.wh.` file beside them, which keeps hiding the lower objects. */
  readonly covered: Set<ByteString>
  /** What lower layers show here, whether or not the upper directory has or hides the name. */
  readonly lower: ReadonlyMap<ByteString, LowerName>
  /** Lower layers whose directories are merged here, uppermost first. */
  readonly lowerDirs: readonly number[]
}

/**
 * Lower layers that have a name. The first one shows. A directory is merged with the directories of those that follow.
 */
interface LowerName {
  readonly type: FileType
  readonly layers: readonly number[]
}

/** Used during a merge. A name in one layer is a shared object and must not grow. */
interface GrowingName extends LowerName {
  readonly layers: number[]
}

const NOTHING: ReadonlyMap<ByteString, LowerName> = new Map()

/** A directory that was just made and hides everything below it. */
export function newDir(): MergedDir {
  return { upper: new Map(), covered: new Set(), lower: NOTHING, lowerDirs: [] }
}

export function isShown(dir: MergedDir, name: ByteString): boolean {
  const up = dir.upper?.get(name)
  return up === undefined ? dir.lower.has(name) : up !== 'whiteout'
}

/**
 * Whether the directory consists of more than one, which overlayfs calls merged. It has one link and cannot be renamed.
 */
export function isMerged(dir: MergedDir): boolean {
  return dir.lowerDirs.length + (dir.upper === undefined ? 0 : 1) > 1
}

/** Reads the layers' directories and merges them. */
export class DirMerger {
  readonly #upper: HostFs | undefined
  readonly #lowers: readonly HostFs[]
  /** A name in a single layer, by far the most frequent case, is one object per layer and type. */
  readonly #names = new Map<string, GrowingName>()

  constructor(upper: HostFs | undefined, lowers: readonly HostFs[]) {
    this.#upper = upper
    this.#lowers = lowers
  }

  /**
   * @param layers lower layers that have a directory at `path` and are not hidden by a layer above
   * @throws EPERM if a kernel recorded a rename by reference (`redirect_dir=on`), since the tree would be wrong
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
 * Caches directories by path and drops those used least recently. There are two generations: when the young one is
 * full, it becomes the old one. Dropped directories are read again from disk, which is authoritative.
 */
export class MergedDirCache {
  /** Limit in names, some 60 bytes of memory each. */
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

  /** Records what the upper directory now has at `path`. The lower layers never change. */
  note(path: ByteString, state: FileType | 'whiteout' | undefined): void {
    const dir = this.get(parentOf(path))
    if (dir?.upper === undefined) return
    const name = baseOf(path)
    if (state === undefined) dir.upper.delete(name)
    else dir.upper.set(name, state)
    dir.covered.delete(name)
    this.#names += state === undefined ? 0 : 1
  }

  /** Records that the object was copied to the upper directory. A directory is copied without its contents. */
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

  /** Forgets the directory and everything below it. */
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
