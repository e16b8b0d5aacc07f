import { joinBytes, type ByteString } from '../fs/bytes.js'
import type { RawFs } from '../fs/raw-fs.js'
import { removeTree } from '../fs/remove-tree.js'
import { makeImplied, statOrNothing, type Ground, type Times } from './ground.js'

/** A tree that already holds the lower layers' content. What is hidden is removed. */
export class MergedGround implements Ground {
  readonly fs: RawFs
  readonly #isOwn: (path: ByteString) => boolean

  /** @param isOwn whether this layer has something at a path; all else is of lower layers */
  constructor(fs: RawFs, isOwn: (path: ByteString) => boolean) {
    this.fs = fs
    this.#isOwn = isOwn
  }

  implyDirectory(path: ByteString): Times {
    const stat = statOrNothing(this.fs, path)
    if (stat?.type === 'directory') return stat
    if (stat !== undefined) this.fs.unlink(path)
    return makeImplied(this.fs, path)
  }

  makeRoom(path: ByteString, type: 'directory' | 'other'): boolean {
    const stat = statOrNothing(this.fs, path)
    if (stat === undefined) return false
    if (stat.type === 'directory' && type === 'directory') return true
    removeTree(this.fs, path, stat.type)
    return false
  }

  newDirectory(): void {}

  whiteout(path: ByteString, own: 'nothing' | 'directory' | 'other'): void {
    if (own === 'directory') this.opaque(path)
    else if (own === 'nothing' && statOrNothing(this.fs, path) !== undefined) removeTree(this.fs, path)
  }

  opaque(path: ByteString): void {
    for (const entry of this.fs.readdir(path)) {
      const child = joinBytes(path, entry.name)
      if (!this.#isOwn(child)) removeTree(this.fs, child, entry.type)
      else if (entry.type === 'directory') this.opaque(child)
    }
  }

  isLowerDirectory(path: ByteString): boolean {
    return statOrNothing(this.fs, path)?.type === 'directory'
  }

  bringUp(path: ByteString): boolean {
    const stat = statOrNothing(this.fs, path)
    return stat !== undefined && stat.type !== 'directory'
  }

  finish(): void {}
}
