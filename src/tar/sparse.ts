import type { RawFile } from '../fs/raw-fs.js'
import { corrupt } from './numbers.js'
import type { TarHeader } from './part.js'

const BLOCK = 512
const MAX_MAP = 1 << 20

type Sparse = NonNullable<TarHeader['sparse']>

/** Puts the pieces of a GNU sparse file where they belong. PAX sparse 1.0 has the map at the head of the content. */
export class SparseContent {
  readonly #file: Pick<RawFile, 'write' | 'truncate'>
  readonly #size: number
  #pieces: Sparse['pieces'] | undefined
  #map = Buffer.alloc(0)
  #piece = 0
  #inPiece = 0

  constructor(sparse: Sparse, file: Pick<RawFile, 'write' | 'truncate'>) {
    this.#file = file
    this.#size = sparse.size
    this.#pieces = sparse.mapInContent ? undefined : sparse.pieces
  }

  write(bytes: Uint8Array): void {
    let rest = bytes
    if (this.#pieces === undefined) {
      this.#map = Buffer.concat([this.#map, bytes])
      const map = readMap(this.#map)
      if (map === undefined) return
      this.#pieces = map.pieces
      rest = this.#map.subarray(map.length)
    }
    while (rest.length > 0) rest = rest.subarray(this.#writeSome(this.#pieces, rest))
  }

  finish(): void {
    this.#file.truncate(this.#size)
  }

  #writeSome(pieces: Sparse['pieces'], bytes: Uint8Array): number {
    const piece = pieces[this.#piece]
    if (piece === undefined) return bytes.length
    const isPlace = piece.offset >= 0 && piece.length >= 0 && piece.offset + piece.length <= this.#size
    if (!isPlace) throw corrupt('a sparse file has data past its end')
    const count = Math.min(bytes.length, piece.length - this.#inPiece)
    for (let at = 0; at < count;) {
      at += this.#file.write(bytes.subarray(at, count), piece.offset + this.#inPiece + at)
    }
    this.#inPiece += count
    if (this.#inPiece >= piece.length) {
      this.#piece++
      this.#inPiece = 0
    }
    return count
  }
}

/** Decimal numbers, one a line: how many pieces, then offset and length of each; filled up to a block. */
function readMap(
  bytes: Buffer,
): { pieces: { offset: number; length: number }[]; length: number } | undefined {
  if (bytes.length > MAX_MAP) throw corrupt('a sparse map is too long')
  const lines = bytes.toString('latin1').split('\n').slice(0, -1)
  const count = Number(lines[0] ?? Number.NaN)
  if (lines[0] === undefined || lines.length < 1 + 2 * count) return undefined
  const used = lines.slice(0, 1 + 2 * count)
  const length = Math.ceil((used.join('\n').length + 1) / BLOCK) * BLOCK
  if (bytes.length < length) return undefined
  const pieces = []
  for (let index = 0; index < count; index++) {
    pieces.push({ offset: Number(used[1 + 2 * index]), length: Number(used[2 + 2 * index]) })
  }
  return { pieces, length }
}
