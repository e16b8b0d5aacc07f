import type { BlockDevice } from '../cow/block.js'
import { BLOCK } from '../cow/block.js'
import type { Guard } from '../cow/guard.js'
import { systemError } from '../sys/errno.js'
import { STAMP } from './format.js'
import { ThinMetadata, type PoolGeometry } from './thin-metadata.js'

/** Data blocks that are left for what must be written when there is no room for more; one change takes half of them. */
const RESERVE = 128
/** The same for the pool's own blocks. */
const METADATA_RESERVE = 512
/** For what is read while another process writes it. */
const MOST_TRIES = 1000

export interface ThinPoolFiles {
  readonly metadata: BlockDevice
  readonly data: BlockDevice
  readonly geometry: PoolGeometry
  /** Blocks of the metadata's trees that are kept in memory; see `OpenOptions`. */
  readonly kept?: number | undefined
  readonly readOnly: boolean
  /** There was a pool already: empty metadata is metadata that was lost. */
  readonly mustExist: () => boolean
  /** Keeps other processes from changing the pool. */
  readonly guard: Guard | undefined
}

/**
 * Thin devices by number on one device for data: a block of the pool is taken when a device first writes to it, shared by
 * snapshots until one of them writes, and given back when it is discarded.
 *
 * Who changes the pool acquires it: nobody outside this process does then, and what is in memory is the latest. Who is in
 * this process may acquire it too; it is given back when all are done, and all is on disk. Readers ask nobody. Blocks
 * that a superblock reaches are written anew only after the next one is there, so what was read is true if the superblock
 * is still the same afterwards; else it is read again.
 */
export class ThinPool {
  readonly data: BlockDevice
  readonly #files: ThinPoolFiles
  #metadata: ThinMetadata | undefined
  /** Of the superblock that `#metadata` is of. */
  #stamp: Buffer = Buffer.alloc(0)
  #users = 0
  #isHeld = false
  #heldSince = 0
  #leaving: Promise<void> = Promise.resolve()
  /** Something was written to the data device since it was flushed. */
  #written = false
  #flushing = 0

  constructor(files: ThinPoolFiles) {
    this.#files = files
    this.data = files.data
  }

  /** The latest, if the pool is acquired; else what it was a moment ago. */
  get metadata(): ThinMetadata {
    return (this.#metadata ??= this.#load())
  }

  /** How long this process has kept others out, in ms. */
  get heldFor(): number {
    return this.#isHeld ? performance.now() - this.#heldSince : 0
  }

  /** Whether the pool is this caller's to change, with others of this process, until it calls `release`. */
  tryAcquire(): boolean {
    if (!this.#isHeld) {
      if (this.#files.guard?.tryAcquire() === false) return false
      if (this.#isStale()) this.#forget()
      this.#isHeld = true
      this.#heldSince = performance.now()
      try {
        this.#metadata ??= this.#load()
      } catch (error) {
        this.#giveUp()
        throw error
      }
    }
    this.#users++
    return true
  }

  /** Nobody in this process waits for it any more; or they ask again. */
  forgo(): void {
    this.#files.guard?.forgo()
  }

  /** Another process waits for the pool, which this one has acquired. */
  get isWanted(): boolean {
    return this.#isHeld && this.#files.guard?.isWanted() === true
  }

  release(): void {
    if (--this.#users > 0) return
    if (!this.metadata.isChanged || this.metadata.isLost) return this.#giveUp()
    // What is written here was not promised to anybody: blocks that were discarded after a commit.
    this.#leaving = this.commitLater()
      .catch(() => undefined)
      .then(() => {
        if (this.#users === 0 && this.#isHeld) this.#giveUp()
      })
  }

  /** Others may change the pool now; nobody in this process does. */
  releaseNow(): void {
    if (this.#users > 0 || !this.#isHeld) return
    this.commit()
    this.#giveUp()
  }

  /** When all that was released is. */
  async settled(): Promise<void> {
    await this.#leaving
  }

  /** What is read of the metadata, and at the places that it names, belongs together. */
  consistently<T>(work: (metadata: ThinMetadata) => T): T {
    for (let tries = 1; ; tries++) {
      const { metadata } = this
      try {
        const result = work(metadata)
        if (!this.#isStale()) return result
      } catch (error) {
        if (tries === MOST_TRIES || !this.#isStale()) throw error
      }
      this.#forget()
    }
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

  write(bytes: Uint8Array, offset: number, urgent: boolean): void {
    this.#written = true
    this.data.write(bytes, offset, urgent)
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

  #isStale(): boolean {
    return !this.#isHeld && !stampOf(this.#files.metadata).equals(this.#stamp)
  }

  /** What is on disk is another state, or what is in memory is half of one. */
  #forget(): void {
    this.#metadata = undefined
  }

  #giveUp(): void {
    if (this.#metadata?.isChanged === true) this.#forget()
    else this.#stamp = stampOf(this.#files.metadata)
    this.#isHeld = false
    this.#files.guard?.release()
  }

  #load(): ThinMetadata {
    const { metadata, geometry, readOnly, mustExist, kept } = this.#files
    for (let tries = 1; ; tries++) {
      this.#stamp = stampOf(metadata)
      try {
        const mayMake = !readOnly && this.#isHeld
        return ThinMetadata.open(metadata, geometry, { mayMake, mustExist, kept })
      } catch (error) {
        // It may have been read while it was written.
        if (tries === MOST_TRIES || this.#isHeld || !this.#isStale()) throw error
      }
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
    this.#pool.consistently((metadata) => {
      for (const { block, inside, start, end } of this.#pieces(offset, buffer.length)) {
        const mapping = metadata.mapping(this.#id, block)
        const piece = buffer.subarray(start, end)
        if (mapping === undefined) piece.fill(0)
        else this.#pool.data.read(piece, mapping.block * metadata.blockSize + inside)
      }
    })
  }

  write(bytes: Uint8Array, offset: number, urgent = false): void {
    for (const { block, inside, start, end } of this.#pieces(offset, bytes.length)) {
      this.#writePiece(block, inside, bytes.subarray(start, end), urgent)
    }
  }

  /** Whether there is room to write there, in a while too. */
  makeRoom(): void {
    const { data, metadata } = this.#pool.metadata.status
    const least = Math.min(METADATA_RESERVE, metadata.total / 8)
    if (
      data.total - data.used - data.freed < RESERVE ||
      metadata.total - metadata.used - metadata.freed < least
    ) {
      throw systemError('ENOSPC', 'write')
    }
    this.#pool.data.makeRoom?.()
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
  #writePiece(block: number, inside: number, piece: Uint8Array, urgent: boolean): void {
    const { metadata, data } = this.#pool
    const { blockSize } = metadata
    const mapping = metadata.mapping(this.#id, block)
    if (mapping?.shared === false) {
      this.#pool.write(piece, mapping.block * blockSize + inside, urgent)
      return
    }
    const whole = piece.length === blockSize ? piece : wholeBlock(blockSize)
    if (whole !== piece) {
      if (mapping === undefined) whole.fill(0)
      else data.read(whole, mapping.block * blockSize)
      whole.set(piece, inside)
    }
    metadata.map(this.#id, block, (made) => this.#pool.write(whole, made * blockSize, urgent))
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

/** What a block is put together in, each time the same: so many for once weigh much before they are collected. */
function wholeBlock(size: number): Buffer {
  if (scratch.length < size) scratch = Buffer.allocUnsafeSlow(size)
  return scratch.subarray(0, size)
}

let scratch = Buffer.alloc(0)

function stampOf(metadata: BlockDevice): Buffer {
  const stamp = Buffer.allocUnsafe(STAMP)
  metadata.read(stamp, 0)
  return stamp
}
