import type { BlockDevice } from '../cow/block.js'
import { BLOCK } from '../cow/block.js'
import type { Guard } from '../cow/guard.js'
import { systemError } from '../sys/errno.js'
import { STAMP } from './format.js'
import { ThinMetadata, type PoolGeometry } from './thin-metadata.js'

/** Data blocks kept free for writes that must complete when space runs out. A single change may take half. */
const RESERVE = 128
/** The same for metadata blocks. */
const METADATA_RESERVE = 512
/** Attempts to read while another process writes. */
const MOST_TRIES = 1000

export interface ThinPoolFiles {
  readonly metadata: BlockDevice
  readonly data: BlockDevice
  readonly geometry: PoolGeometry
  /** Blocks of the metadata's trees to keep in memory; see `OpenOptions`. */
  readonly kept?: number | undefined
  readonly readOnly: boolean
  /** Whether a pool existed before. If so, empty metadata is lost metadata. */
  readonly mustExist: () => boolean
  /** Excludes changes to the pool by other processes. */
  readonly guard: Guard | undefined
}

/**
 * Thin devices, by number, on one data device. The first write to a device's block allocates a block of the pool.
 * Snapshots share it until one of them writes. A discard frees it.
 *
 * Writers acquire the pool, which excludes other processes and loads the latest metadata. Several callers in this
 * process may share it. It is released when all are done and everything is on disk.
 *
 * Readers take no lock. Blocks that a superblock reaches are rewritten only after the next superblock is on disk. So a
 * read is valid if the superblock is still the same afterwards; otherwise it is repeated.
 */
export class ThinPool {
  readonly data: BlockDevice
  readonly #files: ThinPoolFiles
  #metadata: ThinMetadata | undefined
  /** Identifies the superblock that `#metadata` belongs to. */
  #stamp: Buffer = Buffer.alloc(0)
  #users = 0
  #isHeld = false
  #heldSince = 0
  #leaving: Promise<void> = Promise.resolve()
  /** Whether the data device was written to since its last flush. */
  #written = false
  #flushing = 0

  constructor(files: ThinPoolFiles) {
    this.#files = files
    this.data = files.data
  }

  /** The latest metadata if the pool is acquired; otherwise possibly outdated. */
  get metadata(): ThinMetadata {
    return (this.#metadata ??= this.#load())
  }

  /** How long this process has excluded other processes, in ms. */
  get heldFor(): number {
    return this.#isHeld ? performance.now() - this.#heldSince : 0
  }

  /**
   * Acquires the pool for changes, until `release`. Callers in this process share it. Returns `false` while another
   * process has it.
   */
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

  /** Gives up this process's place in the queue. Callers in this process that still wait must ask again. */
  forgo(): void {
    this.#files.guard?.forgo()
  }

  /** Whether this process has the pool and another process waits for it. */
  get isWanted(): boolean {
    return this.#isHeld && this.#files.guard?.isWanted() === true
  }

  release(): void {
    if (--this.#users > 0) return
    if (!this.metadata.isChanged || this.metadata.isLost) return this.#giveUp()
    // Ignore errors: this saves only discards made after a commit, which no caller relies on.
    this.#leaving = this.commitLater()
      .catch(() => undefined)
      .then(() => {
        if (this.#users === 0 && this.#isHeld) this.#giveUp()
      })
  }

  /** Commits and lets other processes change the pool. A no-op while a caller in this process has acquired it. */
  releaseNow(): void {
    if (this.#users > 0 || !this.#isHeld) return
    this.commit()
    this.#giveUp()
  }

  /** Resolves when pending releases are complete. */
  async released(): Promise<void> {
    await this.#leaving
  }

  /**
   * Runs `work` so that all it reads, of the metadata and at the addresses in it, belongs to one state. `work` may run
   * more than once.
   */
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

  /** A device of the pool. `size` is in bytes. */
  device(id: number, size: number): BlockDevice {
    return new ThinDevice(this, id, size)
  }

  /** Syncs all written data, then the metadata that maps it. */
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

  /** Drops the state in memory, because it is outdated or a partial change. */
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
        // Another process may have been writing it.
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

  /** Throws `ENOSPC` if only the reserve of the pool is left, or if its data device has no room. */
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

  /** Copies a shared block before the write. Writes a new block whole, so that no data of its former user shows. */
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

/**
 * Returns a reused buffer in which a block is assembled. A new buffer each time would use much memory before it is
 * collected.
 */
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
