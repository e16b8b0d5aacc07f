/**
 * Chunks for a stream, used again when whoever is at its end says so: garbage of this size is collected late, since it
 * weighs nothing on the heap. Nobody has to say so, and who does must be the only one who has the chunk.
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

/** The chunk, or a part of one, is needed no more. Once for each; of what is no such chunk nothing is done. */
export function giveBack(bytes: Uint8Array): void {
  owners.get(bytes.buffer)?.()
  owners.delete(bytes.buffer)
}

const owners = new WeakMap<ArrayBufferLike, () => void>()
