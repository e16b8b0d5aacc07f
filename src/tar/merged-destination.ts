import { joinBytes, parentOf, type ByteString } from '../fs/bytes.js'
import { statOrNothing } from '../fs/stat-or-nothing.js'
import type { SyncFs } from '../fs/sync-fs.js'
import { removeTree } from '../fs/trees/remove-tree.js'
import { makeImplied, type ApplyDestination, type OwnType, type Times } from './apply-destination.js'

/** A tree that already holds the lower layers' content. Hidden objects are removed from it. */
export class MergedDestination implements ApplyDestination {
  readonly fs: SyncFs
  readonly #ownType: OwnType
  /** Directories that hold nothing of lower layers, so `#lower` need not look. */
  readonly #fresh = new Set<ByteString>()

  /** @param ownType what this layer has at a path; everything else belongs to lower layers */
  constructor(fs: SyncFs, ownType: OwnType) {
    this.fs = fs
    this.#ownType = ownType
    const root = '' as ByteString
    if (fs.readdir(root).length === 0) this.#fresh.add(root)
  }

  implyDirectory(path: ByteString): Times {
    const stat = this.#lower(path)
    if (stat?.type === 'directory') return stat
    if (stat !== undefined) this.fs.unlink(path)
    this.#fresh.add(path)
    return makeImplied(this.fs, path)
  }

  makeRoom(path: ByteString, type: 'directory' | 'other'): boolean {
    const stat = this.#lower(path)
    if (stat === undefined) return false
    if (stat.type === 'directory' && type === 'directory') return true
    removeTree(this.fs, path, stat.type)
    return false
  }

  newDirectory(path: ByteString): void {
    this.#fresh.add(path)
  }

  whiteout(path: ByteString): void {
    const own = this.#ownType(path)
    if (own === 'directory') this.opaque(path)
    else if (own === undefined && this.#lower(path) !== undefined) removeTree(this.fs, path)
  }

  opaque(path: ByteString): void {
    if (this.#fresh.has(path)) return
    for (const entry of this.fs.readdir(path)) {
      const child = joinBytes(path, entry.name)
      const own = this.#ownType(child)
      if (own === undefined) removeTree(this.fs, child, entry.type)
      else if (own === 'directory') this.opaque(child)
    }
    this.#fresh.add(path)
  }

  isLowerDirectory(path: ByteString): boolean {
    return this.#lower(path)?.type === 'directory'
  }

  bringUp(path: ByteString): readonly ByteString[] | undefined {
    const stat = this.#lower(path)
    return stat === undefined || stat.type === 'directory' ? undefined : []
  }

  finish(): void {}

  #lower(path: ByteString) {
    return this.#fresh.has(parentOf(path)) ? undefined : statOrNothing(this.fs, path)
  }
}
