import { BLOCK } from './block.js'
import { corrupt, parseDecimal, parseNumber } from './numbers.js'
import type { TarHeader } from './part.js'
import type { PaxRecords } from './pax.js'

type Sparse = NonNullable<TarHeader['sparse']>
type Piece = Sparse['pieces'][number]

const PIECE = 24
const IN_HEADER = { at: 386, count: 4, continues: 482 }
const IN_BLOCK = { at: 0, count: 21, continues: 504 }
const REAL_SIZE = 483

/** The map of an old GNU sparse file: in its header block, and in the blocks after it as long as each says so. */
export class GnuSparseMap {
  readonly #pieces: Piece[] = []
  readonly #size: number
  continues = false

  constructor(header: Buffer) {
    this.#size = parseNumber(header, REAL_SIZE, 12)
    this.#read(header, IN_HEADER)
  }

  add(block: Buffer): void {
    this.#read(block, IN_BLOCK)
  }

  /** @param stored bytes of content in the archive */
  finish(stored: number): Sparse {
    return checked({ size: this.#size, pieces: this.#pieces, mapInContent: false }, stored)
  }

  #read(block: Buffer, { at, count, continues }: typeof IN_HEADER): void {
    for (let offset = at; offset < at + count * PIECE && block[offset] !== 0; offset += PIECE) {
      this.#pieces.push({
        offset: parseNumber(block, offset, 12),
        length: parseNumber(block, offset + 12, 12),
      })
    }
    this.continues = block[continues] !== 0
  }
}

/**
 * What PAX records say of a sparse file; `undefined` where it is none, or of a version that nobody knows. In version 1.0
 * the map is at the head of the content.
 * @param stored bytes of content in the archive
 */
export function paxSparse(records: PaxRecords, stored: number): Sparse | undefined {
  const version = versionOf(records)
  if (version === undefined) return undefined
  const size = parseDecimal(
    records.get('GNU.sparse.size') ?? records.get('GNU.sparse.realsize') ?? `${stored}`,
  )
  if (version === '1') return checked({ size, pieces: [], mapInContent: true }, stored)
  const map = records.get('GNU.sparse.map') ?? ''
  const numbers = map === '' ? [] : map.split(',').map(parseDecimal)
  if (numbers.length !== 2 * parseDecimal(records.get('GNU.sparse.numblocks') ?? '')) {
    throw corrupt('a sparse map has not as many pieces as it says')
  }
  const pieces: Piece[] = []
  for (let at = 0; at < numbers.length; at += 2) {
    pieces.push({ offset: numbers[at] as number, length: numbers[at + 1] as number })
  }
  return checked({ size, pieces, mapInContent: false }, stored)
}

/** Versions 0.0 and 0.1 need not say which they are. */
function versionOf(records: PaxRecords): '0' | '1' | undefined {
  const version = `${records.get('GNU.sparse.major') ?? ''}.${records.get('GNU.sparse.minor') ?? ''}`
  if (version === '1.0') return '1'
  if (version === '0.0' || version === '0.1') return '0'
  return version === '.' && records.get('GNU.sparse.map') !== undefined ? '0' : undefined
}

/** Pieces stand in order, do not overlap, end inside the file, and are what the archive holds. */
function checked(sparse: Sparse, stored: number): Sparse {
  let end = 0
  let sum = 0
  for (const { offset, length } of sparse.pieces) {
    if (offset < end || length < 0) throw corrupt('a sparse map is out of order')
    end = offset + length
    sum += length
  }
  if (end > sparse.size || sparse.size < 0) throw corrupt('a sparse file has data past its end')
  if (!sparse.mapInContent && sum !== stored) throw corrupt('a sparse map does not fit its content')
  if (sparse.mapInContent && stored < BLOCK) throw corrupt('a sparse file lacks its map')
  return sparse
}
