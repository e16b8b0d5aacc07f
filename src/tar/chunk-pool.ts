/**
 * Reusable chunks for a stream. Consumers may return them with `giveBack`: garbage of this size is collected late,
 * because it adds little to the heap. Returning a chunk is optional, and only its sole holder may return it.
 */
export class ChunkPool {
  readonly #size: number
  readonly #free: Buffer[] = []

  constructor(size: number) {
    this.#size = size
  }

  take(): Buffer {
    const chunk = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#size)
    owners.set(chunk.buffer, () => this.#free.push(chunk))
    return chunk
  }
}

/** Returns the chunk that `bytes` is, or is a part of, to its pool. Call once per chunk. A no-op for other memory. */
export function giveBack(bytes: Uint8Array): void {
  owners.get(bytes.buffer)?.()
  owners.delete(bytes.buffer)
}

const owners = new WeakMap<ArrayBufferLike, () => void>()
