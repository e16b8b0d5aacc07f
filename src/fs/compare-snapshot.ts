import { searchTree, LAST_PLACE } from '../sys/btrfs-search.js'
import { syncfs } from '../sys/syncfs.js'
import { withDirectory } from '../sys/ioctl.js'
import type { ByteString } from './bytes.js'
import type { TreeChange } from './compare.js'
import { compareWritten, type WrittenInodes } from './compare-written.js'
import type { RawFs } from './raw-fs.js'

const ROOT_INODE = 256n
const INODE_ITEM = 1
const INODE_REF = 12
const INODE_EXTREF = 13

export interface Snapshot {
  readonly upper: { readonly root: string }
  readonly lower: { readonly root: string }
  readonly madeAt: bigint
}

/**
 * As `compareTrees`, where `upper` is a btrfs snapshot of `lower`; costs what was written since it was made.
 *
 * What neither side wrote since is the same on both. The B-trees tell, by the transactions that wrote their leaves, the
 * inodes that were written; their names lead up to the root. Only what is on the way there is compared.
 */
export function* compareSnapshot(
  { upper: { root: ours }, lower: { root: theirs }, madeAt }: Snapshot,
  upper: RawFs,
  lower: RawFs,
): Generator<TreeChange> {
  const written = new Written(madeAt)
  written.read(ours)
  written.read(theirs)
  yield* compareWritten(written, upper, lower, ROOT_INODE)
}

/** The inodes that were written since, and where they are. */
class Written implements WrittenInodes {
  readonly #since: bigint
  readonly #inodes = new Set<bigint>()
  readonly #names = new Map<bigint, Set<ByteString>>()

  constructor(madeAt: bigint) {
    this.#since = madeAt + 1n
  }

  has(inode: bigint): boolean {
    return this.#inodes.has(inode)
  }

  /** Names in a directory that lead to such an inode. */
  namesIn(directory: bigint): Iterable<ByteString> {
    return this.#names.get(directory) ?? []
  }

  read(root: string): void {
    withDirectory(root, (fd) => {
      // What is not in the tree yet, the search does not find.
      syncfs(fd)
      const found = [...this.#writtenInodes(fd)]
      for (const inode of found) this.#inodes.add(inode)
      const seen = new Set<bigint>()
      for (const inode of found) this.#wayUp(fd, inode, seen)
    })
  }

  *#writtenInodes(fd: number): Generator<bigint> {
    const first = { object: ROOT_INODE, type: 0, offset: 0n }
    for (const { object, type, data } of searchTree(fd, { first, last: LAST_PLACE, since: this.#since })) {
      if (type === INODE_ITEM && data.readBigUInt64LE(8) >= this.#since) yield object
    }
  }

  #wayUp(fd: number, start: bigint, seen: Set<bigint>): void {
    const waiting = [start]
    for (let inode = waiting.pop(); inode !== undefined; inode = waiting.pop()) {
      if (inode === ROOT_INODE || seen.has(inode)) continue
      seen.add(inode)
      for (const { directory, name } of namesOfInode(fd, inode)) {
        const names = this.#names.get(directory)
        if (names === undefined) this.#names.set(directory, new Set([name]))
        else names.add(name)
        waiting.push(directory)
      }
    }
  }
}

function* namesOfInode(
  fd: number,
  inode: bigint,
): Generator<{ readonly directory: bigint; readonly name: ByteString }> {
  const first = { object: inode, type: INODE_REF, offset: 0n }
  const last = { object: inode, type: INODE_EXTREF, offset: LAST_PLACE.offset }
  for (const { type, offset, data } of searchTree(fd, { first, last })) {
    const extended = type === INODE_EXTREF
    for (let at = 0; at < data.length;) {
      const directory = extended ? data.readBigUInt64LE(at) : offset
      const start = at + (extended ? 18 : 10)
      const end = start + data.readUInt16LE(start - 2)
      yield { directory, name: data.toString('latin1', start, end) as ByteString }
      at = end
    }
  }
}
