const LEAST = 8

/** Values of one size in one buffer. A Buffer for each value would take more memory than most values. */
export class FixedValues implements Iterable<Buffer> {
  readonly #size: number
  #bytes: Buffer
  #count: number

  /** @param bytes the initial values; copied */
  constructor(size: number, bytes: Uint8Array = new Uint8Array(0)) {
    this.#size = size
    this.#count = bytes.length / size
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(LEAST * size, bytes.length))
    this.#bytes.set(bytes)
  }

  copy(): FixedValues {
    return new FixedValues(this.#size, this.#used)
  }

  /** Returns a copy. */
  at(index: number): Buffer {
    return Buffer.from(this.#bytes.subarray(index * this.#size, (index + 1) * this.#size))
  }

  set(index: number, value: Buffer): void {
    this.#bytes.set(value, index * this.#size)
  }

  insert(index: number, value: Buffer): void {
    this.#makeRoom(this.#count + 1)
    this.#bytes.copyWithin((index + 1) * this.#size, index * this.#size, this.#count * this.#size)
    this.#count++
    this.set(index, value)
  }

  remove(index: number): void {
    this.#bytes.copyWithin(index * this.#size, (index + 1) * this.#size, this.#count * this.#size)
    this.#count--
  }

  /** Moves the other list's values, from index `start` on, to the end of this one. */
  takeFrom(other: FixedValues, start: number): void {
    const taken = other.#used.subarray(start * this.#size)
    other.#count = Math.min(other.#count, start)
    this.#makeRoom(this.#count + taken.length / this.#size)
    this.#bytes.set(taken, this.#count * this.#size)
    this.#count += taken.length / this.#size
  }

  writeTo(block: Buffer, at: number): void {
    block.set(this.#used, at)
  }

  *[Symbol.iterator](): Generator<Buffer> {
    for (let index = 0; index < this.#count; index++) yield this.at(index)
  }

  get #used(): Buffer {
    return this.#bytes.subarray(0, this.#count * this.#size)
  }

  #makeRoom(count: number): void {
    if (count * this.#size <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(count * this.#size, 2 * this.#bytes.length))
    grown.set(this.#used)
    this.#bytes = grown
  }
}
