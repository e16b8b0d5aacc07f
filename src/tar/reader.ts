import { StoreError } from '../errors.js'
import type { ByteString } from '../fs/bytes.js'
import { BLOCK, parseBlock, sparsePieces, withExtensions } from './header.js'
import { corrupt } from './numbers.js'
import type { TarHeader, TarPart } from './part.js'
import { parsePax, type PaxRecords } from './pax.js'

/** A longer extension header is an attack on memory: Go refuses what is over 1 MiB, too. */
const MAX_EXTENSION = 1024 * 1024
const LONG_NAME = 'L'
const LONG_LINK = 'K'
const PAX = 'x'
const PAX_GLOBAL = 'g'

/**
 * Takes a tar apart as it arrives. Reads what Go's archive/tar reads, since that decides what an image is elsewhere:
 * v7, ustar, GNU (long names, base-256, sparse) and PAX; global headers are passed over.
 *
 * A tar may end without an end marker, at the border of an entry. What follows the marker is `filler`.
 *
 * Parts refer to the chunks that were pushed: use a part before the next `push`, or copy it.
 */
export class TarReader {
  readonly #queue = new ByteQueue()
  #state: 'header' | 'content' | 'padding' | 'end' = 'header'
  /** Bytes of the entry's content, or of its padding, that are still to come. */
  #left = 0
  #padding = 0
  #zeroBlocks = 0

  /** Header bytes of the entry that is being read, and what its extension headers said. */
  #collected: Buffer[] = []
  #pax: PaxRecords | undefined
  #longName: ByteString | undefined
  #longLink: ByteString | undefined;

  *push(chunk: Uint8Array): Generator<TarPart> {
    this.#queue.push(chunk)
    for (;;) {
      const part = this.#next()
      if (part === undefined) break
      if (part !== 'again') yield part
    }
    this.#queue.settle()
  }

  /** Goes on behind content that is not pushed, since it is kept elsewhere. */
  skipContent(size: number): void {
    if (size === 0) return
    this.#left -= size
    if (this.#left === 0) this.#state = this.#padding > 0 ? 'padding' : 'header'
  }

  /** Call when the tar is over. Throws `ARCHIVE_TRUNCATED` if it broke off. */
  *end(): Generator<TarPart> {
    const broken = this.#state === 'content' || this.#collected.length > 0
    if (broken || (this.#state === 'header' && this.#queue.length > 0)) {
      throw new StoreError('ARCHIVE_TRUNCATED', 'the tar breaks off inside an entry', {
        hint: 'fetch or write the archive again; part of it is missing',
      })
    }
    if (this.#queue.length > 0) yield { type: 'filler', bytes: this.#queue.take(this.#queue.length) }
  }

  #next(): TarPart | 'again' | undefined {
    switch (this.#state) {
      case 'header':
        return this.#header()
      case 'content':
        return this.#content()
      case 'padding':
        return this.#paddingBytes()
      case 'end':
        return this.#queue.length === 0
          ? undefined
          : { type: 'filler', bytes: this.#queue.takeSome(this.#queue.length) }
    }
  }

  #header(): TarPart | 'again' | undefined {
    const block = this.#queue.peek(BLOCK)
    if (block === undefined) return undefined
    const parsed = parseBlock(block)
    if (parsed === undefined) return this.#zeroBlock()
    this.#zeroBlocks = 0
    const { typeFlag, header } = parsed
    if (isExtension(typeFlag)) return this.#extension(typeFlag, parsed.header.size)
    const extra = parsed.sparseContinues ? this.#sparseBlocks() : 0
    if (extra === undefined) return undefined
    const bytes = this.#queue.take(BLOCK * (1 + extra))
    const pieces = header.sparse === undefined ? [] : [...header.sparse.pieces]
    for (let index = 1; index <= extra; index++) {
      pieces.push(...sparsePieces(bytes.subarray(index * BLOCK, (index + 1) * BLOCK), 0, 21))
    }
    const sparse = header.sparse === undefined ? undefined : { ...header.sparse, pieces }
    return this.#begin({ ...header, ...(sparse !== undefined && { sparse }) }, bytes)
  }

  /** How many blocks of an old GNU sparse map follow the header; `undefined` until they are all here. */
  #sparseBlocks(): number | undefined {
    for (let count = 1; ; count++) {
      if (count * BLOCK > MAX_EXTENSION) throw corrupt('a sparse map is too long')
      const blocks = this.#queue.peek(BLOCK * (count + 1))
      if (blocks === undefined) return undefined
      if (blocks[count * BLOCK + 504] !== 1) return count
    }
  }

  #begin(block: TarHeader, bytes: Buffer): TarPart {
    const header = withExtensions(block, this.#pax, this.#longName, this.#longLink)
    if (header.size < 0) throw corrupt('a size is negative')
    const all = this.#collected.length === 0 ? bytes : Buffer.concat([...this.#collected, bytes])
    this.#collected = []
    this.#pax = this.#longName = this.#longLink = undefined
    this.#left = header.size
    this.#padding = paddingLength(header.size)
    this.#state = header.size > 0 ? 'content' : 'header'
    return { type: 'header', header, bytes: all }
  }

  #extension(flag: string, size: number): TarPart | 'again' | undefined {
    if (size > MAX_EXTENSION) throw corrupt(`an extension header of ${size} bytes is too long`)
    const length = BLOCK + size + paddingLength(size)
    const peeked = this.#queue.peek(length)
    if (peeked === undefined) return undefined
    const bytes = this.#queue.take(length)
    const body = bytes.subarray(BLOCK, BLOCK + size)
    if (flag === PAX_GLOBAL) {
      if (this.#collected.length === 0) return { type: 'filler', bytes }
    } else if (flag === PAX) this.#pax = parsePax(body)
    else if (flag === LONG_NAME) this.#longName = untilNul(body)
    else this.#longLink = untilNul(body)
    this.#collected.push(Buffer.from(bytes))
    return 'again'
  }

  #content(): TarPart | undefined {
    if (this.#queue.length === 0) return undefined
    const bytes = this.#queue.takeSome(this.#left)
    this.#left -= bytes.length
    if (this.#left === 0) this.#state = this.#padding > 0 ? 'padding' : 'header'
    return { type: 'content', bytes }
  }

  #paddingBytes(): TarPart | undefined {
    if (this.#queue.length === 0) return undefined
    const bytes = this.#queue.takeSome(this.#padding)
    this.#padding -= bytes.length
    if (this.#padding === 0) this.#state = 'header'
    return { type: 'filler', bytes }
  }

  /** Two blocks of zeros are the end marker; one alone, before another entry, is not. */
  #zeroBlock(): TarPart {
    if (this.#collected.length > 0) throw corrupt('an extension header belongs to no entry')
    this.#zeroBlocks++
    if (this.#zeroBlocks === 2) this.#state = 'end'
    return { type: 'filler', bytes: this.#queue.take(BLOCK) }
  }
}

function isExtension(flag: string): boolean {
  return flag === PAX || flag === PAX_GLOBAL || flag === LONG_NAME || flag === LONG_LINK
}

export function paddingLength(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}

function untilNul(bytes: Buffer): ByteString {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end) as ByteString
}

/** Chunks as one run of bytes, copied only where what is wanted lies in more than one. */
class ByteQueue {
  #chunk: Buffer = Buffer.alloc(0)
  #at = 0
  readonly #more: Buffer[] = []
  length = 0

  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    this.length += bytes.length
    if (this.#at === this.#chunk.length && this.#more.length === 0) {
      this.#chunk = bytes
      this.#at = 0
    } else this.#more.push(bytes)
  }

  /** The next `count` bytes if they are all here; they stay. */
  peek(count: number): Buffer | undefined {
    if (this.length < count) return undefined
    if (this.#chunk.length - this.#at < count) this.#join()
    return this.#chunk.subarray(this.#at, this.#at + count)
  }

  /** The next `count` bytes, which must be here. */
  take(count: number): Buffer {
    const bytes = this.peek(count) as Buffer
    this.#advance(count)
    return bytes
  }

  /** At least one byte and at most `count`, without copying. */
  takeSome(count: number): Buffer {
    if (this.#at === this.#chunk.length) this.#join()
    const bytes = this.#chunk.subarray(this.#at, this.#at + Math.min(count, this.#chunk.length - this.#at))
    this.#advance(bytes.length)
    return bytes
  }

  /** Copies what is left over, so that the caller may use its chunk again. */
  settle(): void {
    if (this.length === 0) {
      this.#chunk = Buffer.alloc(0)
      this.#at = 0
    } else this.#join()
  }

  #advance(count: number): void {
    this.#at += count
    this.length -= count
    if (this.#at === this.#chunk.length && this.#more.length > 0) {
      this.#chunk = this.#more.shift() as Buffer
      this.#at = 0
    }
  }

  #join(): void {
    this.#chunk = Buffer.concat([this.#chunk.subarray(this.#at), ...this.#more])
    this.#at = 0
    this.#more.length = 0
  }
}
