import { isErrno } from '../errors.js'
import { systemError } from '../sys/errno.js'
import { BLOCK, type Address } from './block.js'
import { DamagedBlock } from './damage.js'
import {
  addressOf,
  encodeExtent,
  generationOf,
  joined,
  LARGEST_EXTENT,
  lengthOf,
  partOf,
  sumOf,
} from './extent.js'
import type { Inode } from './inode.js'
import { ITEM, keyOf, numberAt, REST, u48 } from './key.js'
import type { CowStore } from './store.js'
import type { Volume } from './volume.js'
import type { ByteString } from '../fs/bytes.js'

const scratch = Buffer.allocUnsafeSlow(LARGEST_EXTENT * BLOCK)

/**
 * The content of one file, in extents. The file's blocks are counted from 0. Callers save the inode after each change.
 */
export class Content {
  readonly #store: CowStore
  readonly #volume: Volume
  readonly #number: number

  constructor(store: CowStore, volume: Volume, number: number) {
    this.#store = store
    this.#volume = volume
    this.#number = number
  }

  /** Reads up to the end of the file. Returns the number of bytes read. */
  read(inode: Inode, buffer: Uint8Array, position: number): number {
    const end = Math.min(position + buffer.length, inode.size)
    if (position >= end) return 0
    buffer.fill(0, 0, end - position)
    const [from, to] = [Math.floor(position / BLOCK), Math.ceil(end / BLOCK)]
    for (const { block, value } of this.#extents(from, to)) {
      const first = Math.max(from, block)
      const last = Math.min(to, block + lengthOf(value))
      const bytes = scratch.subarray(0, (last - first) * BLOCK)
      this.#readBlocks(bytes, value, first - block)
      const start = Math.max(position, first * BLOCK)
      buffer.set(
        bytes.subarray(start - first * BLOCK, Math.min(end, last * BLOCK) - first * BLOCK),
        start - position,
      )
    }
    return end - position
  }

  /**
   * Writes all bytes, and returns their number. On `ENOSPC` or `EDQUOT`, returns the number written so far, or throws
   * if nothing was.
   */
  write(inode: Inode, bytes: Uint8Array, position: number): number {
    let done = 0
    while (done < bytes.length) {
      const at = position + done
      const block = Math.floor(at / BLOCK)
      const length = Math.min(bytes.length - done, (block + LARGEST_EXTENT) * BLOCK - at)
      const piece = bytes.subarray(done, done + length)
      const written = orNothing(done, () => this.#writePiece(inode, block, piece, at - block * BLOCK))
      done += written
      inode.size = Math.max(inode.size, position + done)
      if (written < length) break
    }
    return done
  }

  resize(inode: Inode, size: number): void {
    if (size < inode.size) {
      const inside = size % BLOCK
      const block = Math.floor(size / BLOCK)
      // The rest of the last block must read as zeros if the file grows again.
      if (inside > 0 && this.#extents(block, block + 1).next().done !== true) {
        const rest = Math.min(BLOCK - inside, inode.size - size)
        this.#writePiece(inode, block, Buffer.alloc(rest), inside)
      }
      this.#remove(inode, Math.ceil(size / BLOCK), Math.ceil(inode.size / BLOCK))
    }
    inode.size = size
  }

  /**
   * Writes at most one extent of blocks, beginning `inside` bytes into the first. Returns the number of bytes written.
   */
  #writePiece(inode: Inode, block: number, piece: Uint8Array, inside: number): number {
    const count = Math.ceil((inside + piece.length) / BLOCK)
    const bytes = scratch.subarray(0, count * BLOCK)
    this.#fillEdges(inode, bytes, block, inside, piece.length)
    bytes.set(piece, inside)
    const sums = Array.from({ length: count }, (_, at) =>
      this.#store.checksum(bytes.subarray(at * BLOCK, (at + 1) * BLOCK)),
    )
    if (this.#rewrite(block, bytes, sums)) return piece.length
    for (let done = 0; done < count;) {
      const placed = orNothing(done, () => this.#place(inode, block + done, bytes, sums, done))
      if (placed === 0) return done * BLOCK - inside
      done += placed
    }
    return piece.length
  }

  /** Fills in the old bytes of the first and last block that the piece does not cover. */
  #fillEdges(inode: Inode, bytes: Buffer, block: number, inside: number, length: number): void {
    const end = inside + length
    const last = bytes.length - BLOCK
    if (inside > 0 || end < BLOCK) this.#readOld(inode, bytes.subarray(0, BLOCK), block)
    if (end < bytes.length && last > 0) this.#readOld(inode, bytes.subarray(last), block + last / BLOCK)
  }

  #readOld(inode: Inode, bytes: Buffer, block: number): void {
    bytes.fill(0)
    if (block * BLOCK >= inode.size) return
    for (const { block: start, value } of this.#extents(block, block + 1)) {
      this.#readBlocks(bytes, value, block - start)
    }
  }

  /**
   * Overwrites blocks that this transaction wrote, since nothing else points to them. Returns `false` if there are
   * none.
   */
  #rewrite(block: number, bytes: Buffer, sums: readonly bigint[]): boolean {
    const found = this.#extents(block, block + 1).next().value
    if (found === undefined) return false
    const { block: start, value } = found
    const offset = block - start
    if (generationOf(value) !== this.#store.generation || offset + sums.length > lengthOf(value)) return false
    this.#store.device.write(bytes, (addressOf(value) + offset) * BLOCK)
    const all = Array.from({ length: lengthOf(value) }, (_, at) => sums[at - offset] ?? sumOf(value, at))
    this.#set(start, encodeExtent(addressOf(value), generationOf(value), all))
    return true
  }

  /** Writes as many blocks as fit in one free run to a new place, and releases the old ones. Returns their number. */
  #place(inode: Inode, block: number, bytes: Buffer, sums: readonly bigint[], done: number): number {
    const { space, device, generation } = this.#store
    const { address, length } = this.#allocate(block, sums.length - done)
    try {
      device.write(bytes.subarray(done * BLOCK, (done + length) * BLOCK), address * BLOCK)
    } catch (error) {
      space.refuse({ address, length })
      throw error
    }
    this.#remove(inode, block, block + length)
    inode.blocks += length
    this.#volume.blocks += length
    this.#insert(block, encodeExtent(address, generation, sums.slice(done, done + length)))
    return length
  }

  #allocate(block: number, wanted: number): { address: Address; length: number } {
    const { limit, blocks } = this.#volume
    if (limit > 0 && blocks + wanted > limit) {
      // Replaced blocks do not count twice.
      let replaced = 0
      for (const extent of this.#extents(block, block + wanted)) {
        const start = Math.max(block, extent.block)
        replaced += Math.min(block + wanted, extent.block + lengthOf(extent.value)) - start
      }
      if (blocks + wanted - replaced > limit) throw systemError('EDQUOT', 'write')
    }
    return this.#store.space.allocate(wanted)
  }

  #insert(block: number, value: Buffer): void {
    const before = this.#extentBefore(block)
    if (before !== undefined && before.block + lengthOf(before.value) === block) {
      const whole = joined(before.value, value)
      if (whole !== undefined) return this.#set(before.block, whole)
    }
    this.#set(block, value)
  }

  #remove(inode: Inode, from: number, to: number): void {
    const { space, generation } = this.#store
    for (const { block, value } of [...this.#extents(from, to)]) {
      const length = lengthOf(value)
      const first = Math.max(from, block)
      const last = Math.min(to, block + length)
      if (first > block) this.#set(block, partOf(value, 0, first - block))
      else this.#volume.tree.delete(this.#key(block))
      if (last < block + length) this.#set(last, partOf(value, last - block, length))
      const address = addressOf(value)
      for (let at = first - block; at < last - block; at++) space.decrement(address + at, generation)
      inode.blocks -= last - first
      this.#volume.blocks -= last - first
    }
  }

  #readBlocks(bytes: Buffer, value: Buffer, from: number): void {
    const { device, checksum } = this.#store
    const address = addressOf(value) + from
    device.read(bytes, address * BLOCK)
    for (let at = 0; at < bytes.length / BLOCK; at++) {
      if (checksum(bytes.subarray(at * BLOCK, (at + 1) * BLOCK)) === sumOf(value, from + at)) continue
      throw new DamagedBlock(device.name, address + at, 'wrong checksum')
    }
  }

  /** Extents that contain any block from `from` up to, but excluding, `to`. */
  *#extents(from: number, to: number): Generator<{ block: number; value: Buffer }, undefined, void> {
    const before = this.#extentBefore(from)
    if (before !== undefined && before.block + lengthOf(before.value) > from) yield before
    for (const [key, value] of this.#volume.tree.range(this.#key(from), this.#key(to))) {
      yield { block: numberAt(key, REST), value }
    }
  }

  #extentBefore(block: number): { block: number; value: Buffer } | undefined {
    const found = this.#volume.tree.before(this.#key(block))
    if (found === undefined || !found[0].startsWith(keyOf(this.#number, ITEM.extent))) return undefined
    return { block: numberAt(found[0], REST), value: found[1] }
  }

  #set(block: number, value: Buffer): void {
    this.#volume.tree.set(this.#key(block), value)
  }

  #key(block: number): ByteString {
    return keyOf(this.#number, ITEM.extent, u48(block))
  }
}

/** Returns 0 if space runs out after earlier work succeeded, so that work still counts. */
function orNothing(done: number, work: () => number): number {
  try {
    return work()
  } catch (error) {
    if (done > 0 && isErrno(error, 'ENOSPC', 'EDQUOT')) return 0
    throw error
  }
}
