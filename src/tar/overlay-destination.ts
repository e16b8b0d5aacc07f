import { parentOf, type ByteString } from '../fs/bytes.js'
import { statOrNothing } from '../fs/stat-or-nothing.js'
import { MemoryFs } from '../fs/memory/memory-fs.js'
import {
  isOverlayXattr,
  makeOpaque,
  makeWhiteout,
  removeWhiteout,
  type MarkedFs,
} from '../fs/overlay-marks.js'
import type { SyncFs, SyncStat } from '../fs/sync-fs.js'
import { copyAttributes, copyNode, type Original } from '../fs/trees/copy-node.js'
import { walk } from '../fs/trees/walk.js'
import {
  dropInheritedAcl,
  handsOnAcl,
  makeImplied,
  type ApplyDestination,
  type OwnType,
  type Times,
} from './apply-destination.js'

/**
 * A directory that holds only this layer, in overlay form. Lower layers are read if an entry takes something from them.
 */
export class OverlayDestination implements ApplyDestination {
  readonly fs: MarkedFs
  readonly #below: SyncFs | undefined
  readonly #finish: () => void
  readonly #ownType: OwnType
  /** Lower objects that this layer hides: `#whiteouts` with all below them, `#opaque` only what is below them. */
  readonly #whiteouts = new Set<ByteString>()
  readonly #opaque = new Set<ByteString>()
  /** Directories to make opaque as soon as they exist. */
  readonly #pendingOpaque = new Set<ByteString>()
  #names: Map<string, ByteString[]> | undefined
  #rootHidden = false

  /**
   * @param files an empty directory
   * @param below the merged tree of the lower layers, if any
   * @param finish called when applying ends
   */
  constructor(files: MarkedFs, below: SyncFs | undefined, ownType: OwnType, finish = () => {}) {
    this.fs = files
    this.#ownType = ownType
    this.#below = below
    this.#finish = finish
  }

  implyDirectory(path: ByteString): Times {
    const hidden = this.#uncover(path)
    const lower = this.#lower(path)
    if (lower?.type !== 'directory') {
      const times = makeImplied(this.fs, path)
      if (hidden || lower !== undefined) this.#makeOpaque(path)
      return times
    }
    this.fs.mkdir(path, 0o700)
    this.#takeAttributes(path, lower)
    return lower
  }

  makeRoom(path: ByteString, type: 'directory' | 'other'): boolean {
    const hidden = this.#uncover(path)
    if (type === 'other' || this.#below === undefined) return false
    const lower = this.#lower(path)
    if (hidden || (lower !== undefined && lower.type !== 'directory')) this.#pendingOpaque.add(path)
    return false
  }

  newDirectory(path: ByteString): void {
    if (this.#pendingOpaque.delete(path)) this.#makeOpaque(path)
  }

  whiteout(path: ByteString): void {
    const lower = this.#lower(path)
    if (lower === undefined) return
    this.#whiteouts.add(path)
    const own = this.#ownType(path)
    if (own === undefined) makeWhiteout(this.fs, path)
    else if (own === 'directory') this.#makeOpaque(path)
  }

  opaque(path: ByteString): void {
    if (path === '') this.#hideAll()
    else if (this.#lower(path)?.type === 'directory') this.#makeOpaque(path)
  }

  isLowerDirectory(path: ByteString): boolean {
    return this.#lower(path)?.type === 'directory'
  }

  bringUp(path: ByteString): readonly ByteString[] | undefined {
    const stat = this.#lower(path)
    if (stat === undefined || stat.type === 'directory') return undefined
    this.#copyUp(path, stat)
    if (stat.nlink < 2) return []
    const names = this.#lowerNames().get(inodeOf(stat)) ?? []
    return names.filter((name) => name !== path && this.#lower(name) !== undefined)
  }

  finish(): void {
    this.#finish()
  }

  /** Names of lower files that have several, by inode. Collected once, on the first hard link to such a file. */
  #lowerNames(): ReadonlyMap<string, ByteString[]> {
    if (this.#names !== undefined) return this.#names
    this.#names = new Map()
    for (const { path, stat } of walk(this.#below as SyncFs)) {
      if (stat.type === 'directory' || stat.nlink < 2) continue
      const names = this.#names.get(inodeOf(stat))
      if (names === undefined) this.#names.set(inodeOf(stat), [path])
      else names.push(path)
    }
    return this.#names
  }

  /** Returns what lower layers show at `path`, unless this layer hides it. */
  #lower(path: ByteString): SyncStat | undefined {
    if (this.#below === undefined || this.#whiteouts.has(path)) return undefined
    for (let at = path; at !== '';) {
      at = parentOf(at)
      if (this.#opaque.has(at) || this.#whiteouts.has(at)) return undefined
    }
    return statOrNothing(this.#below, path)
  }

  /** Removes this layer's whiteout of `path`, if any. `#lower` still treats the lower object as hidden. */
  #uncover(path: ByteString): boolean {
    if (!this.#whiteouts.has(path)) return false
    removeWhiteout(this.fs, path)
    return true
  }

  /** The kernel ignores an opaque root, so each name in the root gets a whiteout. */
  #hideAll(): void {
    if (this.#rootHidden) return
    this.#rootHidden = true
    for (const { name } of this.#below?.readdir('' as ByteString) ?? []) this.whiteout(name)
  }

  #makeOpaque(path: ByteString): void {
    makeOpaque(this.fs, path)
    this.#opaque.add(path)
  }

  #takeAttributes(path: ByteString, stat: SyncStat): void {
    if (handsOnAcl(this.fs, parentOf(path))) dropInheritedAcl(this.fs, path, stat.type)
    copyAttributes(this.#original(path, stat), { fs: this.fs, path }, { isLeftOut: isOverlayXattr })
  }

  #copyUp(path: ByteString, stat: SyncStat): void {
    const original = this.#original(path, stat)
    if (this.fs instanceof MemoryFs && stat.type === 'file') {
      this.fs.createReference(path, { fs: original.fs, path, size: stat.size }, stat.mode)
    } else copyNode(original, { fs: this.fs, path }, { mode: 'private' })
    this.#takeAttributes(path, stat)
  }

  #original(path: ByteString, stat: SyncStat): Original {
    return { fs: this.#below as SyncFs, path, stat }
  }
}

function inodeOf({ dev, ino }: SyncStat): string {
  return `${dev}:${ino}`
}
