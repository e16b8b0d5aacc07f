import { fdatasync, fsync, read as readFd, write as writeFd } from 'node:fs'
import { promisify } from 'node:util'
import type { FileData, LayerFileHandle, LayerStats, TimeLike } from './layer-fs.js'
import type { RawFile } from './raw-fs.js'
import { statsOf } from './stats.js'
import { nanoseconds } from './times.js'

const readAsync = promisify(readFd)
const writeAsync = promisify(writeFd)
const fsyncAsync = promisify(fsync)
const fdatasyncAsync = promisify(fdatasync)
/** Up to this much, doing it here takes less time than asking the thread pool (some 15 µs). */
const SMALL = 64 * 1024
const CHUNK = 1 << 20

/** An open file with a position of its own, as Node's `FileHandle`. Large reads and writes are done on the thread pool. */
export class FileHandle implements LayerFileHandle {
  readonly #file: RawFile
  readonly #append: boolean
  #position = 0

  constructor(file: RawFile, append: boolean) {
    this.#file = file
    this.#append = append
  }

  async read(
    buffer: Uint8Array,
    offset = 0,
    length = buffer.byteLength - offset,
    position: number | null = null,
  ): Promise<{ bytesRead: number; buffer: Uint8Array }> {
    const at = position ?? this.#position
    const bytesRead = await this.#readAt(buffer.subarray(offset, offset + length), at)
    if (position === null) this.#position += bytesRead
    return { bytesRead, buffer }
  }

  async write(
    data: Uint8Array | string,
    offset: number | null = 0,
    length: number | null = null,
    position: number | null = null,
  ): Promise<{ bytesWritten: number; buffer: Uint8Array | string }> {
    const bytes =
      typeof data === 'string'
        ? Buffer.from(data)
        : data.subarray(offset ?? 0, (offset ?? 0) + (length ?? data.byteLength))
    const at = position ?? this.#position
    const bytesWritten = await this.#writeAt(bytes, at)
    if (position === null) this.#position += bytesWritten
    return { bytesWritten, buffer: data }
  }

  async readFile(encoding?: BufferEncoding): Promise<Buffer | string> {
    const chunks: Buffer[] = []
    const expected = this.#file.stat().size
    for (let wanted = expected; ; wanted = CHUNK) {
      const chunk = Buffer.allocUnsafe(Math.min(Math.max(wanted, 1), 16 * CHUNK))
      const count = await this.#readAt(chunk, this.#position)
      if (count === 0) break
      chunks.push(chunk.subarray(0, count))
      this.#position += count
    }
    const all = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
    return encoding === undefined ? all : all.toString(encoding)
  }

  async writeFile(data: FileData): Promise<void> {
    for await (const chunk of chunksOf(data)) await this.#writeAll(chunk)
  }

  async stat(): Promise<LayerStats> {
    return statsOf(this.#file.stat())
  }

  async truncate(size = 0): Promise<void> {
    this.#file.truncate(size)
  }

  async chmod(mode: number): Promise<void> {
    this.#file.chmod(mode & 0o7777)
  }

  async chown(uid: number, gid: number): Promise<void> {
    this.#file.chown(uid, gid)
  }

  async utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    this.#file.utimes(nanoseconds(atime), nanoseconds(mtime))
  }

  async sync(): Promise<void> {
    if (this.#file.fd === undefined) this.#file.sync()
    else await fsyncAsync(this.#file.fd)
  }

  async datasync(): Promise<void> {
    if (this.#file.fd === undefined) this.#file.sync()
    else await fdatasyncAsync(this.#file.fd)
  }

  async close(): Promise<void> {
    this.#file.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const count = await this.#writeAt(bytes.subarray(at), this.#position)
      at += count
      this.#position += count
    }
  }

  async #readAt(buffer: Uint8Array, position: number): Promise<number> {
    const { fd } = this.#file
    if (fd === undefined || buffer.byteLength <= SMALL) return this.#file.read(buffer, position)
    return (await readAsync(fd, buffer, 0, buffer.byteLength, position)).bytesRead
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<number> {
    const { fd } = this.#file
    if (fd === undefined || bytes.byteLength <= SMALL) return this.#file.write(bytes, position)
    return (await writeAsync(fd, bytes, 0, bytes.byteLength, this.#append ? null : position)).bytesWritten
  }
}

export async function* chunksOf(data: FileData): AsyncGenerator<Uint8Array> {
  if (typeof data === 'string') yield Buffer.from(data)
  else if (data instanceof Uint8Array) yield data
  else for await (const chunk of data) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
}
