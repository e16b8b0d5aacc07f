import { fdatasync, fsync, read as readFd, write as writeFd } from 'node:fs'
import { promisify } from 'node:util'
import { namedError, systemError } from '../../sys/errno.js'
import { bytesOf, bytesOfChunk, checkOwner, integer, permissionsOf, viewOf } from './arguments.js'
import type { FileData, LayerFileHandle, LayerStats, Mode, PieceOptions, TimeLike } from './layer-fs.js'
import type { SyncFile } from '../sync-fs.js'
import { statsOf } from './stats.js'
import { nanoseconds } from './times.js'
import { CallOrder } from './call-order.js'

const readAsync = promisify(readFd)
const writeAsync = promisify(writeFd)
const fsyncAsync = promisify(fsync)
const fdatasyncAsync = promisify(fdatasync)
/** Up to this size, a synchronous call takes less time than the thread pool (some 15 µs). */
const SMALL = 64 * 1024
/** Bytes between two checks for an abort. */
const PIECE = 4 << 20
const COPIED = 256 * 1024
/** Node's buffer size for a read without a buffer. */
const READ_BY_DEFAULT = 16 * 1024

type FileOptions = BufferEncoding | { encoding?: BufferEncoding | null; signal?: AbortSignal } | null

/**
 * An open file with its own position, like Node's `FileHandle`. Large reads and writes run on the thread pool. Calls
 * made meanwhile, including `close`, wait for them.
 */
export class FileHandle implements LayerFileHandle {
  readonly #file: SyncFile
  readonly #append: boolean
  readonly #turn = new CallOrder()
  #position = 0
  #open = true

  constructor(file: SyncFile, append: boolean) {
    this.#file = file
    this.#append = append
  }

  async read<T extends NodeJS.ArrayBufferView>(
    given?: T | (PieceOptions & { readonly buffer?: T }),
    offset?: number | null | PieceOptions,
    length?: number | null,
    position?: number | null,
  ): Promise<{ bytesRead: number; buffer: T }> {
    const isBuffer = ArrayBuffer.isView(given)
    const buffer = (isBuffer ? given : (given?.buffer ?? Buffer.alloc(READ_BY_DEFAULT))) as T
    const piece = isBuffer ? pieceOf(offset, length, position) : (given ?? {})
    const wanted = partOf(viewOf(buffer), piece)
    const at = piece.position ?? null
    return this.#do('read', async () => {
      const own = at === null || at < 0
      const bytesRead = await this.#readAt(wanted, own ? this.#position : at)
      if (own) this.#position += bytesRead
      return { bytesRead, buffer }
    })
  }

  /** A position and an encoding follow a string, as in Node. */
  async write<T extends NodeJS.ArrayBufferView | string>(
    data: T,
    offset?: number | null | PieceOptions,
    length?: number | null | BufferEncoding,
    position?: number | null,
  ): Promise<{ bytesWritten: number; buffer: T }> {
    const isText = typeof data === 'string'
    const piece = isText ? { position: offset as number } : pieceOf(offset, length as number, position)
    const bytes = isText
      ? Buffer.from(data, (length as BufferEncoding | null | undefined) ?? 'utf8')
      : partOf(viewOf(data as NodeJS.ArrayBufferView), piece)
    const at = piece.position ?? null
    return this.#do('write', async () => {
      const own = at === null || at < 0
      const bytesWritten = own ? await this.#writeOn(bytes) : await this.#writeAt(bytes, at)
      return { bytesWritten, buffer: data }
    })
  }

  readFile(options?: { encoding?: null; signal?: AbortSignal } | null): Promise<Buffer>
  readFile(options: BufferEncoding | { encoding: BufferEncoding; signal?: AbortSignal }): Promise<string>
  async readFile(options?: FileOptions): Promise<Buffer | string> {
    const { encoding, signal } = typeof options === 'string' ? { encoding: options } : (options ?? {})
    const all = await this.#do('read', () => this.#readRest(signal))
    return encoding == null ? all : all.toString(encoding)
  }

  async writeFile(data: FileData, options?: FileOptions): Promise<void> {
    const { encoding, signal } = typeof options === 'string' ? { encoding: options } : (options ?? {})
    const bytes = bytesOf(data, encoding ?? 'utf8')
    if (bytes !== undefined) return this.#do('write', () => this.#writeAll(bytes, signal))
    for await (const chunk of data as AsyncIterable<NodeJS.ArrayBufferView | string>) {
      const piece = bytesOfChunk(chunk, encoding ?? 'utf8')
      await this.#do('write', () => this.#writeAll(piece, signal))
    }
  }

  /**
   * Copies the whole file over the content of `target`, whose position must be 0. Then truncates `target` to the same
   * size.
   */
  async copyTo(target: FileHandle): Promise<void> {
    const buffer = Buffer.allocUnsafe(COPIED)
    for (let position = 0; ;) {
      const { bytesRead } = await this.read(buffer, 0, buffer.length, position)
      if (bytesRead === 0) return target.truncate(position)
      await target.writeFile(buffer.subarray(0, bytesRead))
      position += bytesRead
    }
  }

  async isSameFile(other: FileHandle): Promise<boolean> {
    const [one, two] = [this.#file.stat(), other.#file.stat()]
    return one.ino === two.ino && one.dev === two.dev
  }

  async stat(): Promise<LayerStats> {
    return this.#do('fstat', () => statsOf(this.#file.stat()))
  }

  async truncate(size = 0): Promise<void> {
    const length = Math.max(0, integer('len', size, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))
    return this.#do('ftruncate', () => this.#file.truncate(length))
  }

  async chmod(mode: Mode): Promise<void> {
    const bits = permissionsOf(mode)
    return this.#do('fchmod', () => this.#file.chmod(bits))
  }

  async chown(uid: number, gid: number): Promise<void> {
    checkOwner(uid, gid)
    return this.#do('fchown', () => this.#file.chown(uid, gid))
  }

  async utimes(atime: TimeLike, mtime: TimeLike): Promise<void> {
    const [atimeNs, mtimeNs] = [nanoseconds(atime), nanoseconds(mtime)]
    return this.#do('futime', () => this.#file.utimes(atimeNs, mtimeNs))
  }

  async sync(): Promise<void> {
    return this.#do('fsync', () => {
      const { fd } = this.#file
      return fd === undefined ? this.#file.sync() : fsyncAsync(fd)
    })
  }

  async datasync(): Promise<void> {
    return this.#do('fdatasync', () => {
      const { fd } = this.#file
      return fd === undefined ? this.#file.sync() : fdatasyncAsync(fd)
    })
  }

  async close(): Promise<void> {
    return this.#turn.run(() => {
      this.#open = false
      this.#file.close()
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #do<T>(syscall: string, work: () => T | Promise<T>): Promise<T> {
    return this.#turn.run(async () => {
      if (!this.#open) throw systemError('EBADF', syscall)
      try {
        return await work()
      } catch (error) {
        throw namedError(error, syscall)
      }
    })
  }

  async #readRest(signal: AbortSignal | undefined): Promise<Buffer> {
    const expected = Math.max(0, this.#file.stat().size - this.#position)
    // One extra byte, so that the end is found without a second buffer.
    let buffer = Buffer.allocUnsafe(expected + 1)
    let filled = 0
    for (;;) {
      signal?.throwIfAborted()
      const piece = buffer.subarray(filled, filled + PIECE)
      const count = await this.#readAt(piece, this.#position)
      if (count === 0) return buffer.subarray(0, filled)
      this.#position += count
      filled += count
      if (filled === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2)
    }
  }

  async #writeAll(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    for (let done = 0; done < bytes.byteLength;) {
      signal?.throwIfAborted()
      done += await this.#writeOn(bytes.subarray(done, done + PIECE))
    }
  }

  async #writeOn(bytes: Uint8Array): Promise<number> {
    const count = await this.#writeAt(bytes, this.#position)
    this.#position = this.#append ? this.#file.stat().size : this.#position + count
    return count
  }

  #readAt(buffer: Uint8Array, position: number): number | Promise<number> {
    const { fd } = this.#file
    if (fd === undefined || buffer.byteLength <= SMALL) return this.#file.read(buffer, position)
    return readAsync(fd, buffer, 0, buffer.byteLength, position).then(({ bytesRead }) => bytesRead)
  }

  #writeAt(bytes: Uint8Array, position: number): number | Promise<number> {
    const { fd } = this.#file
    if (fd === undefined || bytes.byteLength <= SMALL) return this.#file.write(bytes, position)
    const at = this.#append ? null : position
    return writeAsync(fd, bytes, 0, bytes.byteLength, at).then(({ bytesWritten }) => bytesWritten)
  }
}

function pieceOf(
  offset: number | null | PieceOptions | undefined,
  length: number | null | undefined,
  position: number | null | undefined,
): PieceOptions {
  if (typeof offset === 'object' && offset !== null) return offset
  return { offset: offset ?? null, length: length ?? null, position: position ?? null }
}

function partOf(bytes: Uint8Array, { offset, length }: PieceOptions): Uint8Array {
  const start = integer('offset', offset ?? 0, 0, bytes.length)
  const rest = bytes.length - start
  return bytes.subarray(start, start + integer('length', length ?? rest, 0, rest))
}
