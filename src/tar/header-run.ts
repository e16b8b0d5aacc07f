/**
 * The bytes of one entry's header, which is one or more units (blocks, bodies of extension headers), as chunks bring
 * them. As long as a header lies in one chunk nothing is copied.
 */
export class HeaderRun {
  #chunk: Buffer = EMPTY
  /** Where the run begins in the chunk, and how far it was read. */
  #start = 0
  #at = 0
  /** The run, if it began in an earlier chunk; and where its last unit begins, while that is not whole. */
  #held: Buffer = EMPTY
  #heldLength = 0
  #unit = 0

  /** Goes on in a chunk from `at`. */
  enter(chunk: Buffer, at: number): void {
    this.#chunk = chunk
    this.#start = this.#at = at
  }

  /** How far the chunk was read. */
  get at(): number {
    return this.#at
  }

  /** Bytes since the run began. */
  get length(): number {
    return this.#heldLength > 0 ? this.#heldLength : this.#at - this.#start
  }

  /**
   * The run's next unit; `undefined` where the chunk ends before it does. The chunk is read up then, what is there of the
   * run is copied, and the call is to be made again in the next chunk.
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

  /** The whole run; another one begins. */
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
