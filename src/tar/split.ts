import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { ByteString } from '../fs/bytes.js'
import { cleanName } from './clean-name.js'
import type { Crc64 } from './crc64.js'
import type { TarPart } from './part.js'
import { formatFile, formatSegment, parseLine } from './split-entry.js'

/** Lines are compressed when there are so many characters of them: a gzip member each, which gzip readers join. */
const MEMBER = 1 << 20
const LEVEL = 3
const MAX_SEGMENT = 1 << 20

/**
 * Writes down what the files of a layer do not hold of its tar, in Docker's own format: JSON lines, gzipped, a raw
 * segment for each run of bytes that is no content, an entry for each header.
 *
 * Content that the files will not give back under the entry's name goes into raw segments; Docker, too, reads those.
 * It refuses a file that names a path twice, so of several entries of one name only the one whose content is in the
 * file has a line of its own.
 */
export class TarSplitWriter {
  readonly #file: string
  readonly #crc: Crc64
  #lines: string[] = []
  #length = 0
  #position = 0
  readonly #members: Buffer[] = []

  #raw: Uint8Array[] = []
  #rawLength = 0
  #entry: { readonly name: ByteString; readonly size: number } | undefined
  /** Number of the entry that the last header part began. */
  #number = -1
  readonly #latest = new Map<ByteString, { number: number; position: number }>()
  readonly #positions: number[] = []
  /** Lines to take away at the end, or to put raw content in the place of, by position. */
  readonly #replaced = new Map<number, Uint8Array>()

  constructor(file: string, crc: Crc64) {
    this.#file = file
    this.#crc = crc
  }

  /** @param stored for a header: whether its content can be read back from the layer's file of that name */
  part(part: TarPart, stored: boolean): void {
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
    if (position !== undefined && position >= 0) this.#replaced.set(position, Buffer.concat([...content]))
  }

  /** Writes the file; when this returns it is durable, but for its name in the directory. */
  finish(): void {
    this.#endEntry()
    this.#flushRaw()
    this.#compress()
    const members = this.#replaced.size === 0 ? this.#members : this.#rewritten()
    const fd = openSync(this.#file, 'wx', 0o600)
    try {
      for (const member of members) writeAll(fd, member)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
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
    this.#supersede(name)
    this.#positions[this.#number] = this.#position
    this.#line(formatFile(name, size, size === 0 ? undefined : this.#crc.digest(), this.#position++))
  }

  /** An earlier line of this name goes; its content, if it had any, was handed over to `displace`. */
  #supersede(name: ByteString): void {
    const clean = cleanName(name) ?? name
    const earlier = this.#latest.get(clean)
    if (earlier !== undefined && !this.#replaced.has(earlier.position)) {
      this.#replaced.set(earlier.position, new Uint8Array(0))
    }
    this.#latest.set(clean, { number: this.#number, position: this.#position })
  }

  #addRaw(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#raw.push(Uint8Array.prototype.slice.call(bytes))
    this.#rawLength += bytes.length
    if (this.#rawLength >= MAX_SEGMENT) this.#flushRaw()
  }

  #flushRaw(): void {
    if (this.#rawLength === 0) return
    this.#line(formatSegment(Buffer.concat(this.#raw), this.#position++))
    this.#raw = []
    this.#rawLength = 0
  }

  #line(line: string): void {
    this.#lines.push(line)
    this.#length += line.length
    if (this.#length >= MEMBER) this.#compress()
  }

  #compress(): void {
    if (this.#length === 0 && this.#members.length > 0) return
    this.#members.push(gzipSync(this.#lines.join(''), { level: LEVEL }))
    this.#lines = []
    this.#length = 0
  }

  /** Positions are counted anew, since lines may go. */
  *#rewritten(): Generator<Buffer> {
    let position = 0
    for (const member of this.#members) {
      let text = ''
      for (const line of gunzipSync(member).toString('utf8').split('\n')) {
        if (line === '') continue
        const entry = parseLine(line)
        const replaced = this.#replaced.get(entry.position)
        if (replaced !== undefined && replaced.length === 0) continue
        if (replaced !== undefined) text += formatSegment(replaced, position++)
        else if (entry.type === 'segment') text += formatSegment(entry.bytes, position++)
        else text += formatFile(entry.name, entry.size, entry.checksum, position++)
      }
      yield gzipSync(text, { level: LEVEL })
    }
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
}
