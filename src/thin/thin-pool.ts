import type { BlockDevice } from '../cow/block.js'
import { BLOCK } from '../cow/block.js'
import { systemError } from '../sys/errno.js'
import type { ThinMetadata } from './thin-metadata.js'

/** Data blocks that are left for what must be written when there is no room for more; one change takes half of them. */
const RESERVE = 128

/**
 * Thin devices by number on one device for data: a block of the pool is taken when a device first writes to it, shared by
 * snapshots until one of them writes, and given back when it is discarded.
 */
export class ThinPool {
  readonly metadata: ThinMetadata
  readonly data: BlockDevice
  /** Something was written to the data device since it was flushed. */
  #written = false
  #flushing = 0

  constructor(metadata: ThinMetadata, data: BlockDevice) {
    this.metadata = metadata
    this.data = data
  }

  /** A device of the pool, of a size in bytes. */
  device(id: number, size: number): BlockDevice {
    return new ThinDevice(this, id, size)
  }

  /** All that was written is on disk, and where it is. */
  commit(): void {
    if (this.#written || this.#flushing > 0) this.data.flush()
    this.#written = false
    this.#commitMetadata()
  }

  async commitLater(): Promise<void> {
    if (this.#written || this.#flushing > 0) await this.#flushLater()
    this.#commitMetadata()
  }

  write(bytes: Uint8Array, offset: number): void {
    this.#written = true
    this.data.write(bytes, offset)
  }

  async #flushLater(): Promise<void> {
    this.#written = false
    this.#flushing++
    try {
      await this.data.flushLater()
    } catch (error) {
      this.#written = true
      throw error
    } finally {
      this.#flushing--
    }
  }

  #commitMetadata(): void {
    const { blockSize } = this.metadata
    const freed = [...this.metadata.commit()].toSorted((a, b) => a - b)
    for (let at = 0; at < freed.length;) {
      const start = at
      const first = freed[at] as number
      while (freed[at] === first + at - start) at++
      this.data.discard(first * blockSize, (at - start) * blockSize)
    }
  }
}

class ThinDevice implements BlockDevice {
  readonly name: string
  readonly capacity: number
  readonly #pool: ThinPool
  readonly #id: number

  constructor(pool: ThinPool, id: number, size: number) {
    this.#pool = pool
    this.#id = id
    this.name = `thin device ${id} of ${pool.data.name}`
    this.capacity = Math.floor(size / BLOCK)
  }

  read(buffer: Uint8Array, offset: number): void {
    const { metadata, data } = this.#pool
    for (const { block, inside, start, end } of this.#pieces(offset, buffer.length)) {
      const mapping = metadata.mapping(this.#id, block)
      const piece = buffer.subarray(start, end)
      if (mapping === undefined) piece.fill(0)
      else data.read(piece, mapping.block * metadata.blockSize + inside)
    }
  }

  write(bytes: Uint8Array, offset: number): void {
    for (const { block, inside, start, end } of this.#pieces(offset, bytes.length)) {
      this.#writePiece(block, inside, bytes.subarray(start, end))
    }
  }

  /** Whether there is room to write there, in a while too. */
  makeRoom(): void {
    const { used, total, freed } = this.#pool.metadata.status.data
    if (total - used - freed < RESERVE) throw systemError('ENOSPC', 'write')
  }

  flush(): void {
    this.#pool.commit()
  }

  flushLater(): Promise<void> {
    return this.#pool.commitLater()
  }

  discard(offset: number, length: number): void {
    const { metadata } = this.#pool
    const first = Math.ceil(offset / metadata.blockSize)
    const last = Math.floor((offset + length) / metadata.blockSize)
    for (let block = first; block < last; block++) metadata.unmap(this.#id, block)
  }

  close(): void {}

  /** A block that others have too is copied first, and a new one is whole: nothing of its former user shows. */
  #writePiece(block: number, inside: number, piece: Uint8Array): void {
    const { metadata, data } = this.#pool
    const { blockSize } = metadata
    const mapping = metadata.mapping(this.#id, block)
    if (mapping?.shared === false) {
      this.#pool.write(piece, mapping.block * blockSize + inside)
      return
    }
    const whole = Buffer.alloc(blockSize)
    if (mapping !== undefined && piece.length < blockSize) data.read(whole, mapping.block * blockSize)
    whole.set(piece, inside)
    this.#pool.write(whole, metadata.map(this.#id, block) * blockSize)
  }

  *#pieces(offset: number, length: number) {
    const { blockSize } = this.#pool.metadata
    for (let start = 0; start < length;) {
      const block = Math.floor((offset + start) / blockSize)
      const inside = (offset + start) % blockSize
      const end = Math.min(length, start + blockSize - inside)
      yield { block, inside, start, end }
      start = end
    }
  }
}
