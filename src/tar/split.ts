import { closeSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { ByteString } from '../fs/bytes.js'
import { cleanName } from './clean-name.js'
import type { Crc64 } from './crc64.js'
import type { RecordedPart } from './part.js'
import { formatFile, formatSegment, parseLines } from './split-entry.js'

/** Lines are compressed in batches of about this many bytes. Each batch is a gzip member; gzip readers join members. */
const MEMBER = 1 << 18
const LEVEL = 3
const MAX_SEGMENT = 1 << 20
/** Initial buffer size. Most runs of headers are shorter. */
const RAW = 1 << 16

/**
 * Records the bytes of a layer's tar that its files do not hold, in Docker's own format: gzipped JSON lines. Each run
 * of non-content bytes is a raw segment, and each header has an entry.
 *
 * Content that the files cannot reproduce under the entry's name goes into raw segments, which Docker also reads.
 * Docker refuses a tar-split that names a path twice. So of several entries with one name, only the entry whose content
 * is in the file has its own line.
 */
export class TarSplitWriter implements Disposable {
  readonly #file: string
  readonly #crc: Crc64
  #out: number
  readonly #lines = Buffer.allocUnsafeSlow(MEMBER)
  #length = 0
  #position = 0
  /** Compressed lengths of the members written so far. */
  readonly #members: number[] = []

  #raw = Buffer.allocUnsafeSlow(RAW)
  #rawLength = 0
  #entry: { readonly name: ByteString; readonly size: number } | undefined
  /** Number of the current entry, counted from 0 by header parts. */
  #number = -1
  /** By clean name: twice the position of the entry's line, plus one if it has content. */
  readonly #latest = new Map<ByteString, number>()
  readonly #positions: number[] = []
  /** By position: lines to remove at the end, or to replace with raw content. */
  readonly #replaced = new Map<number, Displaced>()
  #displaced: { readonly fd: number; length: number } | undefined

  constructor(file: string, crc: Crc64) {
    this.#file = file
    this.#crc = crc
    this.#out = openSync(file, 'wx+', 0o600)
  }

  /** @param stored for a header: whether its content can be read back from the layer's file of that name */
  part(part: RecordedPart, stored: boolean): void {
    switch (part.type) {
      case 'header':
        this.#endEntry()
        this.#addRaw(part.bytes)
        this.#beginEntry(part.header.name, part.header.size, stored)
        break
      case 'content':
        if (this.#entry === undefined) this.#addRaw(part.bytes)
        else this.#crc.update(part.bytes)
        break
      case 'filler':
        this.#endEntry()
        this.#addRaw(part.bytes)
    }
  }

  /** Moves the content of an earlier entry into the tar-split, before a later entry destroys it. */
  displace(entryNumber: number, content: Iterable<Uint8Array>): void {
    // The displaced entry may be the previous one, which is complete by now.
    this.#endEntry()
    const position = this.#positions[entryNumber]
    if (position === undefined || position < 0) return
    const spill = (this.#displaced ??= { fd: this.#spillFile(), length: 0 })
    const offset = spill.length
    for (const piece of content) {
      writeAll(spill.fd, piece)
      spill.length += piece.length
    }
    this.#replaced.set(position, { offset, length: spill.length - offset })
  }

  /** Writes the rest. The creator of the file's directory syncs the file and the directory. */
  finish(): void {
    this.#endEntry()
    this.#flushRaw()
    this.#compress()
    if (this.#replaced.size > 0) this.#rewrite()
    this[Symbol.dispose]()
  }

  /** Closes open files. The caller removes the file if it was not finished. */
  [Symbol.dispose](): void {
    for (const fd of [this.#out, this.#displaced?.fd]) if (fd !== undefined && fd >= 0) closeSync(fd)
    this.#out = -1
    this.#displaced = undefined
  }

  #beginEntry(name: ByteString, size: number, stored: boolean): void {
    this.#number++
    this.#positions.push(-1)
    if (size > 0 && !stored) return
    this.#entry = { name, size }
    if (size > 0) this.#crc.begin()
  }

  #endEntry(): void {
    if (this.#entry === undefined) return
    const { name, size } = this.#entry
    this.#entry = undefined
    this.#flushRaw()
    if (!this.#supersede(name, size)) return
    this.#positions[this.#number] = this.#position
    this.#line(formatFile(name, size, size === 0 ? undefined : this.#crc.digest(), this.#position++))
  }

  /**
   * Removes an earlier line of this name. Its content, if any, must have been passed to `displace`.
   * @returns false if it was not: the file still holds the earlier entry's content, and this entry needs no line
   */
  #supersede(name: ByteString, size: number): boolean {
    const clean = cleanName(name) ?? name
    const earlier = this.#latest.get(clean)
    if (earlier !== undefined && !this.#replaced.has(earlier >> 1)) {
      if ((earlier & 1) === 1) return false
      this.#replaced.set(earlier >> 1, NOTHING)
    }
    this.#latest.set(clean, 2 * this.#position + (size > 0 ? 1 : 0))
    return true
  }

  #addRaw(bytes: Uint8Array): void {
    const length = this.#rawLength + bytes.length
    if (length > this.#raw.length) this.#growRaw(length)
    this.#raw.set(bytes, this.#rawLength)
    this.#rawLength = length
    if (length >= MAX_SEGMENT) this.#flushRaw()
  }

  #growRaw(length: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#raw.length))
    this.#raw.copy(grown, 0, 0, this.#rawLength)
    this.#raw = grown
  }

  #flushRaw(): void {
    if (this.#rawLength === 0) return
    this.#line(formatSegment(this.#raw.subarray(0, this.#rawLength), this.#position++))
    this.#rawLength = 0
  }

  #line(line: string): void {
    // A UTF-16 code unit takes at most three bytes in UTF-8.
    if (this.#length > 0 && this.#length + 3 * line.length > MEMBER) this.#compress()
    if (3 * line.length > MEMBER) this.#member(Buffer.from(line))
    else this.#length += this.#lines.write(line, this.#length, 'utf8')
  }

  #compress(): void {
    if (this.#length === 0 && this.#members.length > 0) return
    this.#member(this.#lines.subarray(0, this.#length))
    this.#length = 0
  }

  #member(text: Buffer): void {
    const member = gzipSync(text, { level: LEVEL })
    writeAll(this.#out, member)
    this.#members.push(member.length)
  }

  /** Writes the file again with the replacements. Positions are renumbered, because lines may be removed. */
  #rewrite(): void {
    const path = `${this.#file}.rewritten`
    const out = openSync(path, 'wx', 0o600)
    try {
      this.#position = 0
      let offset = 0
      for (const length of this.#members) {
        for (const text of this.#rewritten(readAt(this.#out, offset, length))) {
          writeAll(out, gzipSync(text, { level: LEVEL }))
        }
        offset += length
      }
      renameSync(path, this.#file)
    } catch (error) {
      closeSync(out)
      throw error
    }
    closeSync(this.#out)
    this.#out = out
  }

  /** Yields pieces of a few MiB at most. */
  *#rewritten(member: Buffer): Generator<string> {
    let text = ''
    for (const entry of parseLines(gunzipSync(member))) {
      const replaced = this.#replaced.get(entry.position)
      if (replaced !== undefined) {
        for (const segment of this.#displacedContent(replaced)) {
          text += formatSegment(segment, this.#position++)
          yield text
          text = ''
        }
      } else if (entry.type === 'segment') text += formatSegment(entry.bytes, this.#position++)
      else text += formatFile(entry.name, entry.size, entry.checksum, this.#position++)
    }
    yield text
  }

  *#displacedContent({ offset, length }: Displaced): Generator<Buffer> {
    if (this.#displaced === undefined) return
    for (let done = 0; done < length; done += MAX_SEGMENT) {
      yield readAt(this.#displaced.fd, offset + done, Math.min(MAX_SEGMENT, length - done))
    }
  }

  /** Displaced content can be large, so it is kept in an unlinked file. */
  #spillFile(): number {
    const path = `${this.#file}.displaced`
    const fd = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    return fd
  }
}

interface Displaced {
  readonly offset: number
  readonly length: number
}

const NOTHING: Displaced = { offset: 0, length: 0 }

function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length;) {
    const count = readSync(fd, bytes, at, length - at, offset + at)
    if (count === 0) throw new RangeError('a file is shorter than the data written to it')
    at += count
  }
  return bytes
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
}
