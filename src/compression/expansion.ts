import { limitExceeded, type ResolvedLimits } from '../limits.js'

/** So much output is free, since small inputs of zeros are legitimate. */
const FREE = 256 << 20

/** Throws `LIMIT_EXCEEDED` where `packed` bytes gave `unpacked`. */
export function checkExpansion(packed: number, unpacked: number, limit: number): void {
  if (unpacked <= FREE || unpacked <= limit * packed) return
  throw limitExceeded(
    'expansion',
    limit,
    `${packed} compressed bytes expand to more than ${limit} times as many`,
  )
}

/** Compares the bytes that come out of a decompressor with those that went in. */
export class Expansion {
  readonly #limit: number
  readonly #total: number | undefined
  #in = 0
  #out = 0

  /** @param total compressed bytes of the whole source, where that is known: a run of zeros may stand at its beginning */
  constructor({ expansion }: Pick<ResolvedLimits, 'expansion'>, total?: number) {
    this.#limit = expansion
    this.#total = total
  }

  /** Compressed bytes so far. */
  get in(): number {
    return this.#in
  }

  async *watchInput(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      this.#in += chunk.length
      yield chunk
    }
  }

  /** Throws `LIMIT_EXCEEDED`. */
  async *watchOutput(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      this.#out += chunk.length
      checkExpansion(this.#total ?? this.#in, this.#out, this.#limit)
      yield chunk
    }
  }
}
