import type { ByteString } from '../fs/bytes.js'
import type { RecordedPart } from '../tar/part.js'

/** The parts of a tar that a chunk holds, as plain data that crosses to another thread in no time. */
export interface ChunkLayout {
  /** For each piece its length, times four, and its kind. */
  readonly pieces: Uint32Array
  /** Of the headers that end here, parted by NULs: no name holds one. */
  readonly names: string
  readonly sizes: Float64Array
}

const HEADER = 0
const CONTENT = 1
const FILLER = 2

export class LayoutWriter {
  #pieces: number[] = []
  #names: ByteString[] = []
  #sizes: number[] = []

  /** What is there of a header that goes on in the next chunk is told as filler: either is kept as it is. */
  piece(part: RecordedPart, length: number, isLast: boolean): void {
    if (part.type === 'content') this.#pieces.push(4 * length + CONTENT)
    else if (part.type === 'filler' || !isLast) this.#pieces.push(4 * length + FILLER)
    else {
      this.#pieces.push(4 * length + HEADER)
      this.#names.push(part.header.name)
      this.#sizes.push(part.header.size)
    }
  }

  /** Of the pieces since the last one. */
  take(): ChunkLayout {
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
    if (kind === HEADER) {
      yield {
        type: 'header',
        header: { name: nameOf[header] as ByteString, size: sizes[header++] as number },
        bytes,
      }
    } else yield { type: kind === CONTENT ? 'content' : 'filler', bytes }
  }
}
