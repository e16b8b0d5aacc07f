import { limitExceeded, type ResolvedLimits } from '../limits.js'

/** Output up to this size is always allowed, because small inputs of zeros are legitimate. */
const FREE = 256 << 20

/** Throws `LIMIT_EXCEEDED` if `packed` bytes gave more than `limit` times as many `unpacked` bytes. */
export function checkExpansion(packed: number, unpacked: number, limit: number): void {
  if (unpacked <= FREE || unpacked <= limit * packed) return
  throw limitExceeded(
    'expansion',
    limit,
    `${packed} compressed bytes expand to more than ${limit} times their size`,
  )
}

/** Compares the output of a decompressor with its input. */
export class Expansion {
  readonly #limit: number
  readonly #total: number | undefined
  #in = 0
  #out = 0

  /** @param total compressed bytes of the whole source, if known: the source may begin with a run of zeros */
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

  /** Throws `LIMIT_EXCEEDED` if the output exceeds the limit. */
  async *watchOutput(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      this.#out += chunk.length
      checkExpansion(this.#total ?? this.#in, this.#out, this.#limit)
      yield chunk
    }
  }
}
