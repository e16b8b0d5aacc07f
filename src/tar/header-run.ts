/**
 * Collects the bytes of one entry's header from chunks. A header is one or more units (blocks, bodies of extension
 * headers). Nothing is copied while a header lies in one chunk.
 */
export class HeaderRun {
  #chunk: Buffer = EMPTY
  /** Start of the run in the chunk, and the read position. */
  #start = 0
  #at = 0
  /** The run, if it began in an earlier chunk, and the start of its last unit while that is incomplete. */
  #held: Buffer = EMPTY
  #heldLength = 0
  #unit = 0

  /** Continues in a chunk, from `at`. */
  enter(chunk: Buffer, at: number): void {
    this.#chunk = chunk
    this.#start = this.#at = at
  }

  /** Read position in the chunk. */
  get at(): number {
    return this.#at
  }

  /** Bytes of the run so far. */
  get length(): number {
    return this.#heldLength > 0 ? this.#heldLength : this.#at - this.#start
  }

  /**
   * Returns the run's next unit, or `undefined` if the chunk ends first. In that case the chunk is used up and its part
   * of the run is copied: call again with the next chunk.
   */
  unit(length: number): Buffer | undefined {
    if (this.#heldLength > 0) return this.#heldUnit(length)
    if (this.#chunk.length - this.#at >= length) {
      const unit = this.#chunk.subarray(this.#at, this.#at + length)
      this.#at += length
      return unit
    }
    this.#unit = this.#at - this.#start
    this.#hold(this.#start, this.#chunk.length)
    return undefined
  }

  /** Returns the whole run, and begins another. */
  take(): Buffer {
    if (this.#heldLength === 0) {
      const run = this.#chunk.subarray(this.#start, this.#at)
      this.#start = this.#at
      return run
    }
    const run = this.#held.subarray(0, this.#heldLength)
    this.#held = EMPTY
    this.#heldLength = 0
    this.#start = this.#at
    return run
  }

  #heldUnit(length: number): Buffer | undefined {
    const missing = this.#unit + length - this.#heldLength
    const count = Math.min(missing, this.#chunk.length - this.#at)
    this.#hold(this.#at, this.#at + count)
    if (count < missing) return undefined
    const unit = this.#held.subarray(this.#unit, this.#heldLength)
    this.#unit = this.#heldLength
    return unit
  }

  #hold(start: number, end: number): void {
    const length = this.#heldLength + end - start
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#held.length, length, MIN_HELD))
      this.#held.copy(larger, 0, 0, this.#heldLength)
      this.#held = larger
    }
    this.#chunk.copy(this.#held, this.#heldLength, start, end)
    this.#heldLength = length
    this.#at = end
  }
}

const EMPTY = Buffer.alloc(0)
const MIN_HELD = 2048
