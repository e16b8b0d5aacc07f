import type { ByteString } from '../bytes.js'
import { statOrNothing } from '../stat-or-nothing.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'
import { walk } from './walk.js'

const STRIDE = 16

/** The paths of a tree among which hard links are searched, in order. `undefined` is a place to yield. */
export type NamesOfTree = (
  fs: SyncFs,
) => Iterable<{ readonly path: ByteString; readonly stat: SyncStat } | undefined>

type Differs = (path: ByteString, stat: SyncStat, below: SyncStat) => Generator<undefined, boolean, void>

/** The names that objects have in two trees. They are collected when an object with several names is first compared. */
export class LinkGroups {
  readonly #upper: SyncFs
  readonly #lower: SyncFs
  readonly #names: NamesOfTree
  #groups: { readonly upper: Groups; readonly lower: Groups } | undefined

  constructor(upper: SyncFs, lower: SyncFs, names: NamesOfTree) {
    this.#upper = upper
    this.#lower = lower
    this.#names = names
  }

  /**
   * Whether a path that is otherwise unchanged must be made again because of its hard links. This is so if it shares
   * its inode with a path that it did not share it with before, or if its old inode stays with other paths.
   * @param differs compares the objects that the trees have at another path
   */
  *differ(
    path: ByteString,
    stat: SyncStat,
    below: SyncStat,
    differs: Differs,
  ): Generator<undefined, boolean, void> {
    const { upper, lower } = (this.#groups ??= {
      upper: yield* collect(this.#upper, this.#names),
      lower: yield* collect(this.#lower, this.#names),
    })
    const [ours, theirs] = [namesIn(upper, path, stat), namesIn(lower, path, below)]
    if (!isWithin(ours, theirs)) return true
    if (ours.size === theirs.size) return false
    for (const name of theirs) {
      const other = ours.has(name) ? stat : statOrNothing(this.#upper, name)
      if (other === undefined || other.type === 'directory') continue
      if (inodeOf(other) === inodeOf(stat)) return false
      // The first otherwise unchanged group of names keeps the old inode.
      if (!isWithin(namesIn(upper, name, other), theirs)) continue
      if (!(yield* differs(name, { ...other, nlink: 1 }, { ...below, nlink: 1 }))) return true
    }
    return false
  }
}

/** All objects of a tree. */
export function* namesOfTree(fs: SyncFs): ReturnType<NamesOfTree> & Iterable<unknown> {
  let count = 0
  for (const found of walk(fs)) {
    if (++count % STRIDE === 0) yield undefined
    yield found
  }
}

/** The names of each inode with several names, in order. */
type Groups = ReadonlyMap<string, ReadonlySet<ByteString>>

function* collect(fs: SyncFs, names: NamesOfTree): Generator<undefined, Groups, void> {
  const groups = new Map<string, Set<ByteString>>()
  for (const found of names(fs)) {
    if (found === undefined) {
      yield
      continue
    }
    const { path, stat } = found
    if (stat.nlink === 1 || stat.type === 'directory') continue
    const group = groups.get(inodeOf(stat))
    if (group === undefined) groups.set(inodeOf(stat), new Set([path]))
    else group.add(path)
  }
  return groups
}

function namesIn(groups: Groups, path: ByteString, stat: SyncStat): ReadonlySet<ByteString> {
  return groups.get(inodeOf(stat)) ?? new Set([path])
}

function isWithin(names: ReadonlySet<ByteString>, others: ReadonlySet<ByteString>): boolean {
  for (const name of names) if (!others.has(name)) return false
  return true
}

function inodeOf({ dev, ino }: SyncStat): string {
  return `${dev}:${ino}`
}
