import type { ByteString } from '../fs/bytes.js'
import type { SyncFile } from '../fs/sync-fs.js'
import type { TarHeader } from './part.js'
import { readSparseMap } from './sparse-map.js'

type Sparse = NonNullable<TarHeader['sparse']>

const NOTHING = new Uint8Array(0)

/**
 * Writes the pieces of a GNU sparse file at their offsets. In PAX sparse 1.0 the map is at the start of the content.
 */
export class SparseContent {
  readonly #name: ByteString
  readonly #file: Pick<SyncFile, 'write' | 'truncate'>
  readonly #size: number
  /** Bytes of content in the archive. */
  readonly #stored: number
  #pieces: Sparse['pieces'] | undefined
  /**
   * The part of the map that has arrived, if the map is in the content. It is parsed each time it has doubled, however
   * small the pushed pieces are.
   */
  #head = Buffer.alloc(0)
  #arrived: Uint8Array[] = []
  #arrivedSize = 0
  #piece = 0
  #inPiece = 0

  constructor(
    { name, size }: Pick<TarHeader, 'name' | 'size'>,
    sparse: Sparse,
    file: Pick<SyncFile, 'write' | 'truncate'>,
  ) {
    this.#name = name
    this.#file = file
    this.#size = sparse.size
    this.#stored = size
    this.#pieces = sparse.mapInContent ? undefined : sparse.pieces
  }

  /** Throws `LAYER_INVALID` if the map is malformed or does not match the content. */
  write(bytes: Uint8Array): void {
    let rest = this.#pieces === undefined ? this.#behindMap(bytes) : bytes
    while (rest.length > 0) {
      const count = this.#writeSome(this.#pieces ?? [], rest)
      if (count === 0) return
      rest = rest.subarray(count)
    }
  }

  finish(): void {
    this.#file.truncate(this.#size)
  }

  /** Sets the pieces once the map is complete, and returns the content after it. */
  #behindMap(bytes: Uint8Array): Uint8Array {
    this.#arrived.push(Uint8Array.from(bytes))
    this.#arrivedSize += bytes.length
    const length = this.#head.length + this.#arrivedSize
    if (this.#arrivedSize < this.#head.length && length < this.#stored) return NOTHING
    this.#head = Buffer.concat([this.#head, ...this.#arrived])
    this.#arrived = []
    this.#arrivedSize = 0
    const map = readSparseMap(this.#name, this.#head, this.#size, this.#stored)
    if (map === undefined) return NOTHING
    this.#pieces = map.pieces
    return this.#head.subarray(map.length)
  }

  /** Returns the number of bytes written; 0 after the last piece. */
  #writeSome(pieces: Sparse['pieces'], bytes: Uint8Array): number {
    let piece = pieces[this.#piece]
    while (piece !== undefined && this.#inPiece >= piece.length) {
      piece = pieces[++this.#piece]
      this.#inPiece = 0
    }
    if (piece === undefined) return 0
    const count = Math.min(bytes.length, piece.length - this.#inPiece)
    for (let at = 0; at < count;) {
      at += this.#file.write(bytes.subarray(at, count), piece.offset + this.#inPiece + at)
    }
    this.#inPiece += count
    return count
  }
}
