import type { ByteString } from '../fs/bytes.js'
import type { WrittenInodes } from '../fs/trees/compare-written.js'
import { differentKeys, type Rooted } from './compare-roots.js'
import { endOf, ITEM, keyOf, numberAt, REST } from './key.js'
import type { Nodes } from './nodes.js'
import { ROOT_INODE, type Volume } from './volume.js'

interface Place {
  readonly nodes: Nodes
  readonly volume: Volume
}

/** The inodes in which two volumes differ, and their names in both volumes, up to the root. */
export class Written implements WrittenInodes {
  readonly #inodes = new Set<number>()
  readonly #names = new Map<number, Set<ByteString>>()

  has(inode: bigint): boolean {
    return this.#inodes.has(Number(inode))
  }

  namesIn(directory: bigint): Iterable<ByteString> {
    return this.#names.get(Number(directory)) ?? []
  }

  /** Finds the inodes and their names in small steps. The result is valid only after the last step. */
  *find(upper: Place, lower: Place, common?: number): Generator<void> {
    for (const key of differentKeys(rooted(upper), rooted(lower), common)) {
      const inode = numberAt(key, 0)
      if (inode > 0) this.#inodes.add(inode)
      yield
    }
    for (const { volume } of [upper, lower]) {
      const seen = new Set<number>([ROOT_INODE])
      for (const inode of this.#inodes) {
        this.#wayUp(volume, inode, seen)
        yield
      }
    }
  }

  #wayUp({ tree }: Volume, start: number, seen: Set<number>): void {
    const waiting = [start]
    for (let inode = waiting.pop(); inode !== undefined; inode = waiting.pop()) {
      if (seen.has(inode)) continue
      seen.add(inode)
      for (const [key] of tree.range(keyOf(inode, ITEM.reference), endOf(inode, ITEM.reference))) {
        const directory = numberAt(key, REST)
        const name = key.slice(REST + 6) as ByteString
        const names = this.#names.get(directory)
        if (names === undefined) this.#names.set(directory, new Set([name]))
        else names.add(name)
        waiting.push(directory)
      }
    }
  }
}

function rooted({ nodes, volume }: Place): Rooted {
  return { nodes, root: volume.tree.root }
}
