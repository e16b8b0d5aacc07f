import { closeSync } from 'node:fs'
import { searchTree, LAST_PLACE, type TreeItem } from '../../sys/btrfs-search.js'
import { openDirectory } from '../../sys/ioctl.js'
import type { ByteString } from '../bytes.js'
import { compareWritten, type WrittenInodes } from './compare-written.js'
import type { Comparison, SyncFs } from '../sync-fs.js'

const ROOT_INODE = 256n
const INODE_ITEM = 1
const INODE_REF = 12
const INODE_EXTREF = 13
const TYPES = new Set([INODE_ITEM, INODE_REF, INODE_EXTREF])

export interface Snapshot {
  readonly upper: { readonly root: string }
  readonly lower: { readonly root: string }
  readonly madeAt: bigint
}

/**
 * As `compareTrees`, if `upper` is a btrfs snapshot of `lower`. The cost depends on what was written since the snapshot
 * was made.
 *
 * What neither side wrote since is the same on both. B-tree leaves name the transaction that wrote them, which reveals
 * the written inodes. The names of those inodes lead up to the root. Only objects on these paths are compared.
 *
 * @param written the result of {@link writtenSince}
 */
export function compareSnapshot(
  snapshot: Snapshot,
  upper: SyncFs,
  lower: SyncFs,
  written: WrittenInodes = resultOf(writtenSince(snapshot)),
): Comparison {
  return compareWritten(written, upper, lower, ROOT_INODE)
}

/**
 * Finds what either side wrote since, in small steps. Misses changes that are not yet in the B-trees because nothing
 * synced them.
 */
export function* writtenSince({ upper, lower, madeAt }: Snapshot): Generator<void, WrittenInodes, void> {
  const written = new Written(madeAt + 1n)
  yield* written.find(upper.root)
  yield* written.find(lower.root)
  return written
}

/** The inodes that were written since, and the paths to them. */
class Written implements WrittenInodes {
  readonly #since: bigint
  readonly #inodes = new Set<bigint>()
  readonly #names = new Map<bigint, Set<ByteString>>()

  constructor(since: bigint) {
    this.#since = since
  }

  has(inode: bigint): boolean {
    return this.#inodes.has(inode)
  }

  /** Names in a directory that lead to a written inode. */
  namesIn(directory: bigint): Iterable<ByteString> {
    return this.#names.get(directory) ?? []
  }

  *find(root: string): Generator<void, void, void> {
    const fd = openDirectory(root)
    try {
      const named = new Set([ROOT_INODE])
      const waiting = yield* this.#findInodes(fd, named)
      for (let inode = waiting.pop(); inode !== undefined; inode = waiting.pop()) {
        if (named.has(inode)) continue
        yield
        named.add(inode)
        const first = { object: inode, type: INODE_REF, offset: 0n }
        const last = { object: inode, type: INODE_EXTREF, offset: LAST_PLACE.offset }
        for (const item of searchTree(fd, { first, last })) waiting.push(...this.#takeNames(item))
      }
    } finally {
      closeSync(fd)
    }
  }

  /**
   * An inode's names follow it, mostly in the same leaf. Adds inodes whose names were all found to `named`.
   * @returns the inodes whose names are still to be found
   */
  *#findInodes(fd: number, named: Set<bigint>): Generator<void, bigint[], void> {
    const first = { object: ROOT_INODE, type: 0, offset: 0n }
    const waiting: bigint[] = []
    let current: { readonly inode: bigint; unnamed: number } | undefined
    const finish = (): void => {
      if (current?.unnamed === 0) named.add(current.inode)
      else if (current !== undefined) waiting.push(current.inode)
    }
    for (const item of searchTree(fd, { first, last: LAST_PLACE, since: this.#since, types: TYPES })) {
      if (item.type === INODE_ITEM) {
        finish()
        current = undefined
        yield
        if (item.data.readBigUInt64LE(8) < this.#since) continue
        this.#inodes.add(item.object)
        current = { inode: item.object, unnamed: item.data.readUInt32LE(40) }
      } else if (item.object === current?.inode && item.object !== ROOT_INODE) {
        const directories = this.#takeNames(item)
        waiting.push(...directories)
        current.unnamed -= directories.length
      }
    }
    finish()
    return waiting
  }

  /** @returns the directory of each name */
  #takeNames(item: TreeItem): bigint[] {
    return namesOf(item).map(({ directory, name }) => {
      const names = this.#names.get(directory)
      if (names === undefined) this.#names.set(directory, new Set([name]))
      else names.add(name)
      return directory
    })
  }
}

function namesOf({
  type,
  offset,
  data,
}: TreeItem): { readonly directory: bigint; readonly name: ByteString }[] {
  const extended = type === INODE_EXTREF
  const names = []
  for (let at = 0; at < data.length;) {
    const directory = extended ? data.readBigUInt64LE(at) : offset
    const start = at + (extended ? 18 : 10)
    const end = start + data.readUInt16LE(start - 2)
    names.push({ directory, name: data.toString('latin1', start, end) as ByteString })
    at = end
  }
  return names
}

function resultOf<T>(steps: Generator<void, T, void>): T {
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}
