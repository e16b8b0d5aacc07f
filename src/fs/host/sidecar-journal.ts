import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  type BigIntStats,
} from 'node:fs'
import { dirname } from 'node:path'
import { isErrno } from '../../errors.js'
import { systemError } from '../../sys/errno.js'

const { O_APPEND, O_CREAT, O_RDONLY, O_RDWR } = constants
const NEWLINE = 0x0a
/** Journals up to this many lines are not compacted. */
const FEW = 1000

/** Receives the lines of a journal. */
export interface JournalReader<Line> {
  /** Discards everything that was read so far. */
  reset(): void
  read(line: Line): void
}

/**
 * An append-only file of JSON lines that is compacted now and then.
 *
 * 1. A line is appended with one write. A last line without an end was cut short by a crash. It counts as never written
 *    and is cut off before the next append.
 * 2. Compaction writes a second file, syncs it and renames it over the first. A crash leaves the first file unchanged,
 *    and the next writer removes the second.
 * 3. One writer and any number of readers may have the journal open; `catchUp` reads new lines. The file that was read
 *    stays open, so that no other file gets its inode number meanwhile.
 * 4. Appended lines are on disk once `close` returns.
 */
export class SidecarJournal<Line> {
  readonly #path: string
  readonly #reader: JournalReader<Line>
  #fd: number | undefined
  #writable = false
  #wrote = false
  /** Bytes of complete lines that were read or written. */
  #position = 0
  /** Size of the file at the last check. */
  #size = 0
  #lines = 0

  constructor(path: string, reader: JournalReader<Line>) {
    this.#path = path
    this.#reader = reader
  }

  /** Reads lines that another instance wrote since the last call. */
  catchUp(): void {
    const there = statSync(this.#path, { bigint: true, throwIfNoEntry: false })
    if (there === undefined) {
      if (this.#fd !== undefined) this.#reopen(undefined)
    } else if (this.#fd === undefined || !isSame(there, this.#fd) || Number(there.size) < this.#size) {
      this.#reopen(O_RDONLY)
      this.#readOn()
    } else if (Number(there.size) > this.#size) this.#readOn()
  }

  /** Must be called right after `catchUp`. */
  append(line: Line): void {
    if (!this.#writable) this.#openForWriting()
    const fd = this.#fd as number
    if (this.#size > this.#position) ftruncateSync(fd, this.#position)
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
    if (writeSync(fd, bytes) < bytes.length) {
      ftruncateSync(fd, this.#position)
      throw systemError('ENOSPC', 'write', this.#path)
    }
    this.#position += bytes.length
    this.#size = this.#position
    this.#lines += 1
    this.#wrote = true
  }

  /**
   * @param count upper limit for the number of `lines`
   * @param lines the shortest journal with the same meaning, requested only if compaction pays
   */
  close(count: number, lines: () => Iterable<Line>): void {
    if (this.#wrote) {
      this.catchUp()
      if (this.#lines > FEW && this.#lines > 2 * count) this.#writeAnew(lines())
      else if (this.#fd !== undefined) fsyncSync(this.#fd)
      syncDirectory(dirname(this.#path))
    }
    this.#wrote = false
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #reopen(flags: number | undefined): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = flags === undefined ? undefined : openSync(this.#path, flags)
    this.#writable = false
    this.#position = 0
    this.#size = 0
    this.#lines = 0
    this.#reader.reset()
  }

  /** Opens the file that `catchUp` just read. */
  #openForWriting(): void {
    rmSync(this.#aside, { force: true })
    const fd = openSync(this.#path, O_RDWR | O_APPEND | O_CREAT, 0o600)
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = fd
    this.#writable = true
  }

  #readOn(): void {
    const fd = this.#fd as number
    const size = Number(fstatSync(fd, { bigint: true }).size)
    const bytes = readFully(fd, this.#position, size - this.#position)
    const end = bytes.lastIndexOf(NEWLINE) + 1
    for (let start = 0; start < end;) {
      const stop = bytes.indexOf(NEWLINE, start)
      this.#readLine(bytes.toString('utf8', start, stop), this.#position + stop + 1 === size)
      start = stop + 1
    }
    this.#position += end
    this.#size = size
  }

  /** A crash may leave zeros in place of unsynced data, but only at the end. */
  #readLine(text: string, isLast: boolean): void {
    this.#lines += 1
    try {
      this.#reader.read(JSON.parse(text) as Line)
    } catch {
      if (!isLast) throw systemError('EUCLEAN', 'read', this.#path)
    }
  }

  get #aside(): string {
    return `${this.#path}.new`
  }

  #writeAnew(lines: Iterable<Line>): void {
    const aside = this.#aside
    const text = Array.from(lines, (line) => `${JSON.stringify(line)}\n`).join('')
    writeFileSync(aside, text, { mode: 0o600, flush: true })
    renameSync(aside, this.#path)
  }
}

function isSame({ dev, ino }: BigIntStats, fd: number): boolean {
  const held = fstatSync(fd, { bigint: true })
  return held.dev === dev && held.ino === ino
}

function readFully(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const count = readSync(fd, bytes, done, length - done, position + done)
    if (count === 0) break
    done += count
  }
  return bytes.subarray(0, done)
}

function syncDirectory(path: string): void {
  try {
    const fd = openSync(path, O_RDONLY)
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (!isErrno(error, 'EISDIR', 'EPERM', 'EACCES')) throw error
  }
}
