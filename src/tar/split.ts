import { closeSync, openSync, readSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { ByteString } from '../fs/bytes.js'
import { cleanName } from './clean-name.js'
import type { Crc64 } from './crc64.js'
import type { RecordedPart } from './part.js'
import { formatFile, formatSegment, parseLines } from './split-entry.js'

/** Lines are compressed when there are so many bytes of them: a gzip member each, which gzip readers join. */
const MEMBER = 1 << 18
const LEVEL = 3
const MAX_SEGMENT = 1 << 20
/** More than most runs of headers. */
const RAW = 1 << 16

/**
 * Writes down what the files of a layer do not hold of its tar, in Docker's own format: JSON lines, gzipped, a raw
 * segment for each run of bytes that is no content, an entry for each header.
 *
 * Content that the files will not give back under the entry's name goes into raw segments; Docker, too, reads those.
 * It refuses a file that names a path twice, so of several entries of one name only the one whose content is in the
 * file has a line of its own.
 */
export class TarSplitWriter implements Disposable {
  readonly #file: string
  readonly #crc: Crc64
  #out: number
  readonly #lines = Buffer.allocUnsafeSlow(MEMBER)
  #length = 0
  #position = 0
  /** Lengths in the file of the members that are written. */
  readonly #members: number[] = []

  #raw = Buffer.allocUnsafeSlow(RAW)
  #rawLength = 0
  #entry: { readonly name: ByteString; readonly size: number } | undefined
  /** Number of the entry that the last header part began. */
  #number = -1
  /** By clean name, twice the position of its line, and one more if it has content. */
  readonly #latest = new Map<ByteString, number>()
  readonly #positions: number[] = []
  /** Lines to take away at the end, or to put raw content in the place of, by position. */
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

  /** The content of an earlier entry is about to be lost to a later one: it goes into the tar-split after all. */
  displace(entryNumber: number, content: Iterable<Uint8Array>): void {
    // It may be the entry just before: that one is over, since another displaces it.
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

  /** Writes the rest. Whoever made the file's directory syncs both. */
  finish(): void {
    this.#endEntry()
    this.#flushRaw()
    this.#compress()
    if (this.#replaced.size > 0) this.#rewrite()
    this[Symbol.dispose]()
  }

  /** Closes what is open. A file that was not finished is the caller's to remove. */
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
   * An earlier line of this name goes; its content, if it had any, was handed over to `displace`.
   * @returns false where it was not: the earlier entry is still what the file holds, and this one needs no line
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
    // In UTF-8 a character takes three bytes at most.
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

  /** The file once more, with what was replaced in its place. Positions are counted anew, since lines may go. */
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

  /** In pieces of a few MiB at most. */
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

  /** Content that was displaced can be large; it waits in a file without a name. */
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
    if (count === 0) throw new RangeError('a file is shorter than what was written to it')
    at += count
  }
  return bytes
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
}
