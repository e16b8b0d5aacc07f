import { StoreError } from '../errors.js'
import { bytesToText, type ByteString } from '../fs/bytes.js'
import { BLOCK } from './block.js'
import { parseNumber } from './numbers.js'
import type { TarHeader } from './part.js'
import type { PaxRecords } from './pax.js'

type Sparse = NonNullable<TarHeader['sparse']>
type Piece = Sparse['pieces'][number]

const PIECE = 24
const IN_HEADER = { at: 386, count: 4, continues: 482 }
const IN_BLOCK = { at: 0, count: 21, continues: 504 }
const REAL_SIZE = 483
/** Most bytes of a map at the start of the content. Go has the same limit. */
const MAX_MAP = 1 << 20

/**
 * The map of an old GNU sparse file: in its header block, and in the blocks after it as long as each says that more
 * follow.
 */
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
  finish(name: ByteString, stored: number): Sparse {
    const pieces = checkedPieces(name, this.#pieces, this.#size, stored)
    return { size: this.#size, pieces, mapInContent: false }
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
 * Parses the PAX records of a sparse file. In version 1.0 the map is at the start of the content: see
 * {@link readSparseMap}.
 * @param stored bytes of content in the archive
 * @returns `undefined` for a plain file and for an unknown version
 */
export function paxSparse(name: ByteString, records: PaxRecords, stored: number): Sparse | undefined {
  const version = versionOf(records)
  if (version === undefined) return undefined
  const wanted = records.get('GNU.sparse.size') ?? records.get('GNU.sparse.realsize')
  const size = wanted === undefined ? stored : numberOf(name, wanted)
  if (version === '1') {
    if (stored < BLOCK) throw invalidSparse(name, 'the content is too short for a map')
    return { size, pieces: [], mapInContent: true }
  }
  const map = records.get('GNU.sparse.map') ?? ''
  const numbers = map === '' ? [] : map.split(',').map((text) => numberOf(name, text))
  const count = numberOf(name, records.get('GNU.sparse.numblocks') ?? '')
  if (numbers.length !== 2 * count) {
    throw invalidSparse(name, `the map has ${numbers.length} numbers, not two for each of ${count} pieces`)
  }
  return { size, pieces: checkedPieces(name, piecesOf(numbers), size, stored), mapInContent: false }
}

/** Versions 0.0 and 0.1 need not be stated; the map identifies them. */
function versionOf(records: PaxRecords): '0' | '1' | undefined {
  const version = `${records.get('GNU.sparse.major') ?? ''}.${records.get('GNU.sparse.minor') ?? ''}`
  if (version === '1.0') return '1'
  if (version === '0.0' || version === '0.1') return '0'
  return version === '.' && records.get('GNU.sparse.map') !== undefined ? '0' : undefined
}

/**
 * Parses the map of a PAX 1.0 sparse file: decimal numbers, one per line, padded to a block. The first is the number of
 * pieces. The others are the offset and length of each. Throws `LAYER_INVALID`.
 * @param head the start of the content, as far as it has arrived
 * @param stored bytes of content in the archive, including the map
 * @returns the pieces and the length of the map in bytes; `undefined` if `head` ends inside the map
 */
export function readSparseMap(
  name: ByteString,
  head: Buffer,
  size: number,
  stored: number,
): { readonly pieces: readonly Piece[]; readonly length: number } | undefined {
  const lines = new MapLines(name, head)
  const count = lines.next()
  if (count !== undefined && 4 * count > stored)
    throw invalidSparse(name, `${count} pieces do not fit its content`)
  const numbers: number[] = []
  let number = count === 0 ? undefined : lines.next()
  while (number !== undefined) {
    numbers.push(number)
    number = numbers.length === 2 * (count ?? 0) ? undefined : lines.next()
  }
  const isWhole = count !== undefined && numbers.length === 2 * count
  const length = Math.ceil(lines.at / BLOCK) * BLOCK
  if (!isWhole || head.length < length) {
    if (head.length >= stored) throw invalidSparse(name, 'the content ends inside the map')
    if (head.length > MAX_MAP) throw invalidSparse(name, `the map is longer than ${MAX_MAP} bytes`)
    return undefined
  }
  return { pieces: checkedPieces(name, piecesOf(numbers), size, stored - length), length }
}

class MapLines {
  readonly #name: ByteString
  readonly #bytes: Buffer
  /** Bytes read so far. */
  at = 0

  constructor(name: ByteString, bytes: Buffer) {
    this.#name = name
    this.#bytes = bytes
  }

  /** Returns `undefined` if the bytes end before the line does. */
  next(): number | undefined {
    const end = this.#bytes.indexOf(0x0a, this.at)
    const isWhole = end >= 0
    const text = this.#bytes.toString('latin1', this.at, isWhole ? end : this.at + MAX_DIGITS + 1)
    if (!isWhole && /^\d{0,16}$/.test(text)) return undefined
    this.at = end + 1
    return numberOf(this.#name, text)
  }
}

const MAX_DIGITS = 16

function piecesOf(numbers: readonly number[]): Piece[] {
  const pieces: Piece[] = []
  for (let at = 0; at < numbers.length; at += 2) {
    pieces.push({ offset: numbers[at] as number, length: numbers[at + 1] as number })
  }
  return pieces
}

/** Checks that pieces are in order, do not overlap, end inside the file, and add up to the data in the archive. */
function checkedPieces(
  name: ByteString,
  pieces: readonly Piece[],
  size: number,
  data: number,
): readonly Piece[] {
  let end = 0
  let sum = 0
  for (const { offset, length } of pieces) {
    if (offset < 0 || length < 0) throw invalidSparse(name, 'a piece has a negative offset or length')
    if (offset < end) throw invalidSparse(name, `the piece at ${offset} begins before the one before it ends`)
    end = offset + length
    sum += length
  }
  if (size < 0) throw invalidSparse(name, `its size is negative: ${size}`)
  if (end > size) throw invalidSparse(name, `a piece ends at ${end}, past the file's end at ${size}`)
  if (sum !== data) throw invalidSparse(name, `its pieces have ${sum} bytes, but the archive has ${data}`)
  return pieces
}

function numberOf(name: ByteString, text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value)) return value
  const shown = text.length > 40 ? `${text.slice(0, 40)}…` : text
  throw invalidSparse(name, `${JSON.stringify(shown)} is not a number`)
}

function invalidSparse(name: ByteString, why: string): StoreError {
  const path = bytesToText(name)
  return new StoreError('LAYER_INVALID', `the sparse file ${JSON.stringify(path)} is malformed: ${why}`, {
    path,
  })
}
