import type { BlockDevice } from '#layerstack/cow/block.js'

const PIECE = 4096
const EMPTY = Buffer.alloc(PIECE)

export type Step =
  | { readonly do: 'write'; readonly offset: number; readonly bytes: Buffer }
  | { readonly do: 'flush' }

/** A device in memory that logs its writes and flushes in order. */
export class MemoryDevice implements BlockDevice {
  readonly name = 'memory'
  readonly capacity: number
  readonly log: Step[] = []
  /** Number of calls to `read`. */
  reads = 0
  readonly #pieces = new Map<number, Buffer>()
  #size = 0

  constructor(capacity = Infinity) {
    this.capacity = capacity
  }

  /** Returns an independent device with the same content. */
  copy(): MemoryDevice {
    const device = new MemoryDevice(this.capacity)
    for (const [index, piece] of this.#pieces) device.#pieces.set(index, piece)
    device.#size = this.#size
    return device
  }

  get size(): number {
    return this.#size
  }

  read(buffer: Uint8Array, offset: number): void {
    this.reads++
    buffer.fill(0)
    for (let done = 0; done < buffer.length;) {
      const [piece, at] = [Math.floor((offset + done) / PIECE), (offset + done) % PIECE]
      const count = Math.min(PIECE - at, buffer.length - done)
      const bytes = this.#pieces.get(piece)
      if (bytes !== undefined) buffer.set(bytes.subarray(at, at + count), done)
      done += count
    }
  }

  write(bytes: Uint8Array, offset: number): void {
    this.log.push({ do: 'write', offset, bytes: Buffer.from(bytes) })
    for (let done = 0; done < bytes.length;) {
      const [index, at] = [Math.floor((offset + done) / PIECE), (offset + done) % PIECE]
      const count = Math.min(PIECE - at, bytes.length - done)
      const piece = Buffer.from(this.#pieces.get(index) ?? EMPTY)
      piece.set(bytes.subarray(done, done + count), at)
      this.#pieces.set(index, piece)
      done += count
    }
    this.#size = Math.max(this.#size, offset + bytes.length)
  }

  /** Inverts a byte without logging it. */
  flip(offset: number): void {
    const piece = Buffer.from(this.#pieces.get(Math.floor(offset / PIECE)) ?? EMPTY)
    piece[offset % PIECE] = ~(piece[offset % PIECE] as number) & 0xff
    this.#pieces.set(Math.floor(offset / PIECE), piece)
  }

  flush(): void {
    this.log.push({ do: 'flush' })
  }

  async flushLater(): Promise<void> {
    this.log.push({ do: 'flush' })
  }

  discard(): void {}

  close(): void {}
}
