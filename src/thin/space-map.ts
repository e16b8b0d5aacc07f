import { BLOCK } from '../cow/block.js'
import { systemError } from '../sys/errno.js'
import { seal } from './format.js'

const HEADER = 16
/** Blocks that one bitmap tells of, two bits each. */
export const PER_BITMAP = (BLOCK - HEADER) * 4
/** Two bits say 0, 1, 2, or that the count stands in a tree. */
const MANY = 3

export interface IndexEntry {
  readonly bitmap: number
  readonly free: number
  /** No block below this one is free. */
  readonly noneFreeBefore: number
}

/**
 * How often each block of a device is in use. All counts are in memory; which bitmaps and which large counts differ from
 * what is on disk is remembered for the commit. What a transaction frees is not taken before that is on disk.
 */
export class SpaceMap {
  readonly blocks: number
  readonly counts: Uint32Array
  /** Where each bitmap is; 0 for one that was never written. */
  readonly bitmaps: number[]
  readonly changedBitmaps = new Set<number>()
  /** Blocks whose counts are or were more than two bits can say. */
  readonly changedCounts = new Set<number>()
  allocated = 0
  /** Of each bitmap, how many are free and where the first one is; undefined after a change. */
  readonly #summaries: (Pick<IndexEntry, 'free' | 'noneFreeBefore'> | undefined)[] = []
  readonly #freed = new Set<number>()
  #cursor = 0

  readonly #wrong: (what: string) => Error

  /** @param wrong makes the error for counts that contradict the trees */
  constructor(blocks: number, wrong: (what: string) => Error) {
    this.#wrong = wrong
    this.blocks = blocks
    this.counts = new Uint32Array(blocks)
    this.bitmaps = Array.from({ length: Math.ceil(blocks / PER_BITMAP) }, () => 0)
  }

  /** Blocks that can be taken now. */
  get free(): number {
    return this.blocks - this.allocated - this.#freed.size
  }

  /** Blocks that a commit gives back. */
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

  /** @returns users that are left */
  decrement(block: number): number {
    const count = (this.counts[block] as number) - 1
    this.#set(block, count)
    return count
  }

  /** A block that was just allocated, and that nothing leads to. */
  giveBack(block: number): void {
    this.decrement(block)
    this.#freed.delete(block)
    this.#cursor = Math.min(this.#cursor, block)
  }

  /** What was freed is on disk. Tells which blocks. */
  settle(): Iterable<number> {
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

  /** As it is on disk; large counts follow by `setCount`. */
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
    if (block >= this.blocks) throw this.#wrong(`block ${block} is counted, past the end`)
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
    if (!(count >= 0) || block >= this.blocks) throw this.#wrong(`block ${block} is not counted as in use`)
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
