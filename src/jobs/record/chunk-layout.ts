import type { ByteString } from '../../fs/bytes.js'
import type { RecordedPart } from '../../tar/part.js'

/** The parts of a tar that a chunk holds, as plain data that crosses to another thread in no time. */
export interface ChunkLayout {
  /** For each piece its length, times four, and its kind. */
  readonly pieces: Uint32Array
  /** Of the headers that end here, parted by NULs: no name holds one. */
  readonly names: string
  readonly sizes: Float64Array
}

const KINDS = { header: 0, content: 1, filler: 2 } as const

/** Is told of each part of the tar, in order, and of where a chunk ends. */
export class LayoutWriter {
  #pieces: number[] = []
  #names: ByteString[] = []
  #sizes: number[] = []
  /** Bytes of the tar before this chunk, and up to the end of the last part. */
  #start = 0
  #end = 0

  part(part: RecordedPart): void {
    // A header may have begun in the chunk before.
    const start = Math.max(this.#start, this.#end)
    this.#end += part.bytes.length
    this.#pieces.push(4 * (this.#end - start) + KINDS[part.type])
    if (part.type !== 'header') return
    this.#names.push(part.header.name)
    this.#sizes.push(part.header.size)
  }

  /** Of a chunk of so many bytes. What no part was told of is a header that goes on: it is kept as filler is. */
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
