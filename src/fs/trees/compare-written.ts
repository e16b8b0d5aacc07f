import { compareBytes, joinBytes, type ByteString } from '../bytes.js'
import { added, attributesDiffer, compareTrees, TreeComparison, withContents } from './compare.js'
import { LinkGroups, type NamesOfTree } from './link-groups.js'
import { statOrNothing } from '../stat-or-nothing.js'
import type { Comparison, SyncFs, SyncStat } from '../sync-fs.js'

/** The inodes that two trees with shared parts do not have in common, and the paths to them. */
export interface WrittenInodes {
  has(inode: bigint): boolean
  /** Names in a directory that lead to such an inode. */
  namesIn(directory: bigint): Iterable<ByteString>
}

/**
 * As `compareTrees`, if it is known which inodes may differ. Only the paths to them are compared, unless a renamed
 * directory contains a hard link: the rename changes the names of a file that was not written.
 * @param root the inode number of the root, and of directories that belong to other trees
 */
export function* compareWritten(
  written: WrittenInodes,
  upper: SyncFs,
  lower: SyncFs,
  root: bigint,
): Comparison {
  const comparison = new WrittenComparison(written, upper, lower, root)
  if (yield* comparison.movedLinks('' as ByteString, root)) yield* compareTrees(upper, lower)
  else yield* comparison.within('' as ByteString, root)
}

class WrittenComparison {
  readonly #written: WrittenInodes
  readonly #upper: SyncFs
  readonly #lower: SyncFs
  readonly #root: bigint
  /** Compares written objects. Uses no evidence: a write within one clock step may keep the change time. */
  readonly #objects: TreeComparison
  /** Compares directories that are not snapshots of one another. */
  readonly #directories: TreeComparison

  constructor(written: WrittenInodes, upper: SyncFs, lower: SyncFs, root: bigint) {
    this.#written = written
    this.#upper = upper
    this.#lower = lower
    this.#root = root
    const names: NamesOfTree = (fs) => this.#writtenNames(fs, '' as ByteString, root)
    this.#objects = new TreeComparison(upper, lower, new LinkGroups(upper, lower, names))
    this.#directories = new TreeComparison(upper, lower)
  }

  /** Whether a directory that the lower tree has elsewhere contains a hard link that was not written. */
  *movedLinks(directory: ByteString, inode: bigint): Generator<undefined, boolean, void> {
    for (const name of this.#written.namesIn(inode)) {
      yield
      const path = joinBytes(directory, name)
      const stat = this.#upper.find(path)
      if (stat?.type !== 'directory' || stat.ino === this.#root) continue
      const isInPlace = statOrNothing(this.#lower, path)?.ino === stat.ino
      if (yield* isInPlace ? this.movedLinks(path, stat.ino) : this.#unwrittenLinks(path, stat.ino))
        return true
    }
    return false
  }

  *#unwrittenLinks(directory: ByteString, inode: bigint): Generator<undefined, boolean, void> {
    const written = new Set(this.#written.namesIn(inode))
    for (const { name, type } of this.#upper.readdir(directory)) {
      yield
      if (type !== 'directory' && written.has(name)) continue
      const path = joinBytes(directory, name)
      const stat = this.#upper.lstat(path)
      if (type !== 'directory') {
        if (stat.nlink > 1) return true
      } else if (stat.ino !== this.#root && (yield* this.#unwrittenLinks(path, stat.ino))) return true
    }
    return false
  }

  *within(directory: ByteString, inode: bigint): Comparison {
    const names = new Set(this.#written.namesIn(inode))
    if (this.#written.has(inode)) {
      const [here, there] = [namesOf(this.#upper, directory), namesOf(this.#lower, directory)]
      for (const name of here) if (!there.has(name)) names.add(name)
      for (const name of there) if (!here.has(name)) names.add(name)
    }
    for (const name of [...names].toSorted(compareBytes)) {
      yield
      yield* this.#object(joinBytes(directory, name))
    }
  }

  *#object(path: ByteString): Comparison {
    const [stat, below] = [this.#upper.find(path), this.#lower.find(path)]
    if (stat === undefined) {
      if (below !== undefined) yield { kind: 'delete', path }
    } else if (below === undefined) yield* added(this.#upper, path, 'add')
    else if (stat.type !== 'directory') yield* this.#objects.object(path)
    else if (below.type !== 'directory' || stat.ino !== below.ino || stat.ino === this.#root) {
      yield* this.#directories.object(path)
    } else {
      const differs = attributesDiffer(this.#upper, this.#lower, path, stat, below)
      yield* withContents({ kind: 'modify', path, stat }, differs, this.within(path, stat.ino))
    }
  }

  /** All names in one of the trees that lead to written inodes. */
  *#writtenNames(fs: SyncFs, directory: ByteString, inode: bigint): Generator<Named, void, void> {
    for (const name of [...this.#written.namesIn(inode)].toSorted(compareBytes)) {
      yield undefined
      const path = joinBytes(directory, name)
      const stat = fs.find(path)
      if (stat === undefined) continue
      yield { path, stat }
      if (stat.type === 'directory' && stat.ino !== this.#root) yield* this.#writtenNames(fs, path, stat.ino)
    }
  }
}

type Named = { readonly path: ByteString; readonly stat: SyncStat } | undefined

function namesOf(fs: SyncFs, directory: ByteString): Set<ByteString> {
  return new Set(fs.readdir(directory).map(({ name }) => name))
}
