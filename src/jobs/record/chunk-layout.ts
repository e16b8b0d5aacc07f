import type { ByteString } from '../../fs/bytes.js'
import type { RecordedPart } from '../../tar/part.js'

/** The parts of a tar that one chunk holds, as plain data that is cheap to post to another thread. */
export interface ChunkLayout {
  /** For each piece: its length times four, plus its kind. */
  readonly pieces: Uint32Array
  /** Names of the headers that end in this chunk, separated by NULs, which no name contains. */
  readonly names: string
  readonly sizes: Float64Array
}

const KINDS = { header: 0, content: 1, filler: 2 } as const

/** Receives each part of the tar in order, and the end of each chunk. */
export class LayoutWriter {
  #pieces: number[] = []
  #names: ByteString[] = []
  #sizes: number[] = []
  /** Bytes of the tar before this chunk (`#start`) and up to the end of the last part (`#end`). */
  #start = 0
  #end = 0

  part(part: RecordedPart): void {
    // The header may have begun in an earlier chunk.
    const start = Math.max(this.#start, this.#end)
    this.#end += part.bytes.length
    this.#pieces.push(4 * (this.#end - start) + KINDS[part.type])
    if (part.type !== 'header') return
    this.#names.push(part.header.name)
    this.#sizes.push(part.header.size)
  }

  /**
   * Returns the layout of a chunk of `length` bytes. Bytes after the last part belong to a header that continues in the
   * next chunk; they are recorded as filler.
   */
  take(length: number): ChunkLayout {
    this.#start += length
    if (this.#start > this.#end)
      this.#pieces.push(4 * Math.min(length, this.#start - this.#end) + KINDS.filler)
    const layout = {
      pieces: Uint32Array.from(this.#pieces),
      names: this.#names.join('\0'),
      sizes: Float64Array.from(this.#sizes),
    }
    this.#pieces = []
    this.#names = []
    this.#sizes = []
    return layout
  }
}

export function* partsOf({ pieces, names, sizes }: ChunkLayout, chunk: Buffer): Generator<RecordedPart> {
  const nameOf = names.split('\0') as ByteString[]
  let header = 0
  let at = 0
  for (const piece of pieces) {
    const bytes = chunk.subarray(at, (at += piece >>> 2))
    const kind = piece & 3
    if (kind === KINDS.header) {
      yield {
        type: 'header',
        header: { name: nameOf[header] as ByteString, size: sizes[header++] as number },
        bytes,
      }
    } else yield { type: kind === KINDS.content ? 'content' : 'filler', bytes }
  }
}
