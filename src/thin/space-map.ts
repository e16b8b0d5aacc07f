import { BLOCK } from '../cow/block.js'
import { systemError } from '../sys/errno.js'
import { seal } from './format.js'

const HEADER = 16
/** Blocks that one bitmap covers, with two bits each. */
export const PER_BITMAP = (BLOCK - HEADER) * 4
/** Two bits hold 0, 1 or 2. A value of 3 means that a tree holds the count. */
const MANY = 3

export interface IndexEntry {
  readonly bitmap: number
  readonly free: number
  /** No block below this one is free. */
  readonly noneFreeBefore: number
}

/**
 * How many references each block of a device has. All counts are in memory. For the commit, the map records which
 * bitmaps and which large counts differ from those on disk. What a transaction frees is not allocated before the commit
 * is on disk.
 */
export class SpaceMap {
  readonly blocks: number
  readonly counts: Uint32Array
  /** The address of each bitmap; 0 if it was never written. */
  readonly bitmaps: number[]
  readonly changedBitmaps = new Set<number>()
  /** Blocks whose count is or was too large for two bits. */
  readonly changedCounts = new Set<number>()
  allocated = 0
  /** For each bitmap: how many blocks are free, and where the first one is. `undefined` after a change. */
  readonly #summaries: (Pick<IndexEntry, 'free' | 'noneFreeBefore'> | undefined)[] = []
  readonly #freed = new Set<number>()
  #cursor = 0

  readonly #wrong: (what: string) => Error

  /** @param wrong creates the error for counts that contradict the trees */
  constructor(blocks: number, wrong: (what: string) => Error) {
    this.#wrong = wrong
    this.blocks = blocks
    this.counts = new Uint32Array(blocks)
    this.bitmaps = Array.from({ length: Math.ceil(blocks / PER_BITMAP) }, () => 0)
  }

  /** Blocks that can be allocated now. */
  get free(): number {
    return this.blocks - this.allocated - this.#freed.size
  }

  /** Blocks that a commit will free. */
  get freed(): number {
    return this.#freed.size
  }

  allocate(): number {
    for (let looked = 0; looked < this.blocks; looked++) {
      const block = this.#cursor
      this.#cursor = (this.#cursor + 1) % this.blocks
      if (this.counts[block] !== 0 || this.#freed.has(block)) continue
      this.#set(block, 1)
      return block
    }
    throw systemError('ENOSPC', 'write')
  }

  increment(block: number): void {
    this.#set(block, (this.counts[block] as number) + 1)
  }

  /** @returns the remaining count */
  decrement(block: number): number {
    const count = (this.counts[block] as number) - 1
    this.#set(block, count)
    return count
  }

  /** Frees a block that was just allocated and that nothing points to. */
  giveBack(block: number): void {
    this.decrement(block)
    this.#freed.delete(block)
    this.#cursor = Math.min(this.#cursor, block)
  }

  /** Call when the commit is on disk. Frees what the transaction released, and returns those blocks. */
  takeFreed(): Iterable<number> {
    const freed = [...this.#freed]
    this.#freed.clear()
    for (const block of freed) this.#cursor = Math.min(this.#cursor, block)
    return freed
  }

  entry(index: number): IndexEntry {
    const summary = (this.#summaries[index] ??= this.#summary(index))
    return { bitmap: this.bitmaps[index] as number, ...summary }
  }

  encodeBitmap(index: number): Buffer {
    const block = Buffer.alloc(BLOCK)
    const start = index * PER_BITMAP
    for (let at = 0; at < Math.min(PER_BITMAP, this.blocks - start); at++) {
      const count = Math.min(MANY, this.counts[start + at] as number)
      // The higher bit comes first.
      const bits = ((count & 1) << 1) | (count >>> 1)
      block[HEADER + (at >>> 2)] = (block[HEADER + (at >>> 2)] as number) | (bits << ((at & 3) * 2))
    }
    return seal(block, this.bitmaps[index] as number, 'bitmap')
  }

  /** Decodes a bitmap as on disk. `setCount` adds the large counts afterwards. */
  decodeBitmap(index: number, address: number, block: Buffer): void {
    this.bitmaps[index] = address
    const start = index * PER_BITMAP
    for (let at = 0; at < Math.min(PER_BITMAP, this.blocks - start); at++) {
      const bits = ((block[HEADER + (at >>> 2)] as number) >>> ((at & 3) * 2)) & 3
      this.counts[start + at] = ((bits & 1) << 1) | (bits >>> 1)
      if (bits !== 0) this.allocated++
    }
  }

  setCount(block: number, count: number): void {
    if (block >= this.blocks) throw this.#wrong(`block ${block} has a count, but lies past the end`)
    this.counts[block] = count
  }

  #summary(index: number): Pick<IndexEntry, 'free' | 'noneFreeBefore'> {
    const start = index * PER_BITMAP
    const end = Math.min(this.blocks, start + PER_BITMAP)
    let used = 0
    let noneFreeBefore = -1
    for (let block = start; block < end; block++) {
      if (this.counts[block] !== 0) used++
      else if (noneFreeBefore < 0) noneFreeBefore = block - start
    }
    return {
      free: PER_BITMAP - used,
      noneFreeBefore: noneFreeBefore < 0 ? end - start : noneFreeBefore,
    }
  }

  #set(block: number, count: number): void {
    const before = this.counts[block] as number
    if (!(count >= 0) || block >= this.blocks) throw this.#wrong(`block ${block} is in use, but not counted`)
    this.counts[block] = count
    if (before === 0) this.allocated++
    if (count === 0) {
      this.allocated--
      this.#freed.add(block)
    }
    const index = Math.floor(block / PER_BITMAP)
    this.changedBitmaps.add(index)
    this.#summaries[index] = undefined
    if (before >= MANY || count >= MANY) this.changedCounts.add(block)
  }
}
