import { StoreError } from '../errors.js'
import { bytesToText, type ByteString } from '../fs/bytes.js'
import { limitExceeded, NO_LIMITS, type ResolvedLimits } from '../limits.js'
import { BLOCK, isZeros, paddingLength } from './block.js'
import { HeaderRun } from './header-run.js'
import { overridden, parseBlock, type EntryBlock, type ExtensionFlag, type Extensions } from './header.js'
import { corrupt } from './numbers.js'
import type { TarHeader, TarPart } from './part.js'
import { parsePax, type PaxRecords } from './pax.js'
import { GnuSparseMap } from './sparse-map.js'

/**
 * Parses a tar as it arrives. Reads what Go's archive/tar reads, because Go decides what an image is elsewhere: v7,
 * ustar, star, GNU (long names, base-256, sparse) and PAX. Global headers are skipped, but must be well-formed.
 *
 * Differs from Go if Go would lose something:
 * - A sparse file's content parts are what the archive holds; `header.sparse` says where they belong.
 * - LIBARCHIVE.xattr and SCHILY.devmajor count.
 * - A tar that ends after an extension header is `ARCHIVE_TRUNCATED`. Go takes that for the end of the tar.
 *
 * As in Go:
 * - A tar may end without an end marker, either between entries or inside the padding of the last one.
 * - A lone block of zeros before another entry is `ARCHIVE_CORRUPT`.
 * - Bytes after the end marker are `filler`.
 *
 * Copies only headers that span chunks. Parts refer to the pushed chunks: use or copy a part before the next `push`.
 * After an error, the reader is unusable.
 */
export class TarReader {
  #state: 'block' | 'extension' | 'sparse' | 'content' | 'padding' | 'marker' | 'end' = 'block'
  readonly #run = new HeaderRun()
  /** Bytes left of what `#state` names, if known. */
  #left = 0
  #padding = 0
  #extensionFlag: ExtensionFlag = 'x'
  #extensions: Extensions = {}
  #block: EntryBlock | undefined
  #sparse: GnuSparseMap | undefined
  readonly #limits: ResolvedLimits
  #entries = 0
  #unpackedBytes: number

  /** @param limits exceeding one throws `LIMIT_EXCEEDED` */
  constructor(limits: ResolvedLimits = NO_LIMITS) {
    this.#limits = limits
    this.#unpackedBytes = limits.unpackedBefore ?? 0
  }

  *push(chunk: Uint8Array): Generator<TarPart> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    for (let at = 0; at < bytes.length;) {
      if (this.#state === 'content' || this.#state === 'padding' || this.#state === 'end') {
        const part = this.#body(bytes, at)
        at += part.bytes.length
        yield part
      } else {
        this.#run.enter(bytes, at)
        const part = this.#header()
        at = this.#run.at
        if (part !== undefined) yield part
      }
    }
  }

  /** Skips the next `size` bytes of content, which are stored elsewhere and not pushed. By default skips the rest. */
  skipContent(size = this.#state === 'content' ? this.#left : 0): void {
    if (size > 0) this.#advance(size)
  }

  /** Call at the end of the tar. Throws `ARCHIVE_TRUNCATED` if the tar breaks off. */
  end(): Iterable<TarPart> {
    if (this.#state === 'content' || this.#run.length > 0) {
      throw new StoreError('ARCHIVE_TRUNCATED', 'the tar ends inside an entry', {
        hint: 'download or write the archive again; part of it is missing',
      })
    }
    return []
  }

  #body(bytes: Buffer, at: number): TarPart {
    if (this.#state === 'end') return { type: 'filler', bytes: at === 0 ? bytes : bytes.subarray(at) }
    const type = this.#state === 'content' ? 'content' : 'filler'
    const piece = bytes.subarray(at, Math.min(bytes.length, at + this.#left))
    this.#advance(piece.length)
    return { type, bytes: piece }
  }

  #advance(count: number): void {
    this.#left -= count
    if (this.#left > 0) return
    if (this.#state === 'content' && this.#padding > 0) {
      this.#state = 'padding'
      this.#left = this.#padding
    } else this.#state = 'block'
  }

  /** Reads until a part is complete or the chunk ends. */
  #header(): TarPart | undefined {
    for (;;) {
      const unit = this.#run.unit(this.#state === 'extension' ? this.#left : BLOCK)
      if (unit === undefined) return undefined
      if (this.#run.length > 4 * this.#limits.extensionBytes + ROOM) throw this.#tooLong()
      const part = this.#unit(unit)
      if (part !== undefined) return part
    }
  }

  #unit(unit: Buffer): TarPart | undefined {
    switch (this.#state) {
      case 'extension':
        return this.#extension(unit)
      case 'sparse':
        this.#sparse?.add(unit)
        return this.#endBlock()
      case 'marker':
        if (!isZeros(unit)) throw corrupt('a single block of zeros is followed by data')
        this.#state = 'end'
        return { type: 'filler', bytes: this.#run.take() }
      default:
        return unit[0] === 0 && isZeros(unit) ? this.#marker() : this.#beginBlock(unit)
    }
  }

  /** Handles the first of the end marker's two blocks. Extension headers before it belong to no entry. */
  #marker(): TarPart {
    this.#extensions = {}
    this.#state = 'marker'
    return { type: 'filler', bytes: this.#run.take() }
  }

  #beginBlock(unit: Buffer): TarPart | undefined {
    const block = parseBlock(unit)
    if (block.header === undefined) {
      const { size } = block
      if (size < 0) throw corrupt('a size is negative')
      if (size > this.#limits.extensionBytes) throw this.#tooLong()
      this.#extensionFlag = block.flag
      this.#left = size + paddingLength(size)
      this.#padding = paddingLength(size)
      this.#state = 'extension'
      return size === 0 ? this.#extension(unit.subarray(0, 0)) : undefined
    }
    this.#block = block
    if (block.flag === 'S') {
      // star's sparse files have the same typeflag and another format.
      if (block.format !== 'gnu') throw corrupt('a sparse file has an unsupported format')
      this.#sparse = new GnuSparseMap(unit)
    }
    return this.#endBlock()
  }

  #extension(unit: Buffer): TarPart | undefined {
    this.#state = 'block'
    const body = unit.subarray(0, unit.length - this.#padding)
    switch (this.#extensionFlag) {
      case 'x':
      case 'X':
        this.#extensions.pax = this.#pax(body)
        break
      case 'L':
        this.#extensions.longName = untilNul(body)
        break
      case 'K':
        this.#extensions.longLink = untilNul(body)
        break
      case 'g':
        // As in Go, a global header discards the extension headers before it.
        this.#pax(body)
        this.#extensions = {}
        return { type: 'filler', bytes: this.#run.take() }
    }
    return undefined
  }

  #endBlock(): TarPart | undefined {
    if (this.#sparse?.continues === true) {
      this.#state = 'sparse'
      return undefined
    }
    const header = overridden(this.#block as EntryBlock, this.#extensions)
    const sparse = this.#sparse?.finish(header.name, header.size) ?? header.sparse
    this.#count(header, sparse?.size ?? header.size)
    this.#extensions = {}
    this.#sparse = undefined
    this.#padding = paddingLength(header.size)
    this.#left = header.size
    this.#state = header.size > 0 ? 'content' : 'block'
    const whole = sparse === undefined ? header : { ...header, sparse }
    return { type: 'header', header: whole, bytes: this.#run.take() }
  }

  #pax(body: Buffer): PaxRecords {
    const { paxRecords } = this.#limits
    const records = parsePax(body, paxRecords)
    if (records !== undefined) return records
    throw limitExceeded('paxRecords', paxRecords, `an entry has more than ${paxRecords} PAX records`)
  }

  #tooLong(): StoreError {
    const { extensionBytes } = this.#limits
    const what = `the extension headers of an entry are longer than ${extensionBytes} bytes`
    return limitExceeded('extensionBytes', extensionBytes, what)
  }

  #count({ name, linkName, type }: TarHeader, size: number): void {
    const { entries, unpackedBytes } = this.#limits
    if (++this.#entries > entries) {
      throw limitExceeded('entries', entries, `the tar has more than ${entries} entries`)
    }
    checkPath(name, this.#limits)
    if (linkName !== '') checkPath(linkName, this.#limits)
    if (type !== 'file') return
    this.#unpackedBytes += size
    if (this.#unpackedBytes > unpackedBytes) {
      throw limitExceeded('unpackedBytes', unpackedBytes, `the files exceed ${unpackedBytes} bytes in total`)
    }
  }
}

/** Bytes allowed on top of the extension headers: the entry's other blocks, and padding. */
const ROOM = 1 << 14

function checkPath(path: ByteString, { pathLength, pathDepth }: ResolvedLimits): void {
  if (path.length > pathLength) {
    const what = `the path ${shown(path)} has ${path.length} bytes, more than ${pathLength}`
    throw limitExceeded('pathLength', pathLength, what)
  }
  // Fast path: most paths are short.
  if (path.length < 2 * pathDepth) return
  const depth = path.split('/').filter((component) => component !== '' && component !== '.').length
  if (depth > pathDepth) {
    throw limitExceeded(
      'pathDepth',
      pathDepth,
      `the path ${shown(path)} has ${depth} components, more than ${pathDepth}`,
    )
  }
}

function shown(path: ByteString): string {
  const start = bytesToText(path.slice(0, 80) as ByteString)
  return JSON.stringify(path.length > 80 ? `${start}…` : start)
}

function untilNul(bytes: Buffer): ByteString {
  const end = bytes.indexOf(0)
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end) as ByteString
}
