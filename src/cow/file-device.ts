import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { isErrno, StoreError } from '../errors.js'
import { libcAvailable } from '../sys/libc.js'
import { punchHole } from '../sys/punch-hole.js'
import type { BlockDevice } from './block.js'

const sync = promisify(fdatasync)
const WORTHWHILE = 64 << 10

export interface FileDeviceOptions {
  /** The file must exist, and is never written. @default false */
  readonly readOnly?: boolean
  /** Maximum size in blocks. @default Infinity */
  readonly capacity?: number
}

/** A sparse file as a block device. The file grows as it is written. */
export class FileDevice implements BlockDevice {
  readonly name: string
  readonly capacity: number
  readonly #fd: number
  #open = true

  constructor(path: string, { readOnly = false, capacity = Infinity }: FileDeviceOptions = {}) {
    this.name = path
    this.capacity = capacity
    this.#fd = openFile(path, readOnly ? constants.O_RDONLY : constants.O_RDWR | constants.O_CREAT)
  }

  /** Size of the file in bytes. */
  get size(): number {
    return fstatSync(this.#fd).size
  }

  read(buffer: Uint8Array, offset: number): void {
    // No file reaches this offset, and Node rejects it.
    if (offset + buffer.length > Number.MAX_SAFE_INTEGER) return void buffer.fill(0)
    for (let done = 0; done < buffer.length;) {
      const count = readSync(this.#fd, buffer, done, buffer.length - done, offset + done)
      if (count === 0) {
        buffer.fill(0, done)
        return
      }
      done += count
    }
  }

  write(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length;) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, offset + done)
    }
  }

  flush(): void {
    fdatasyncSync(this.#fd)
  }

  async flushLater(): Promise<void> {
    await sync(this.#fd)
  }

  /** Punches a hole if the range has at least 64 KiB. Shorter ranges are soon written again. */
  discard(offset: number, length: number): void {
    if (length >= WORTHWHILE && libcAvailable().works) punchHole(this.#fd, offset, length)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    closeSync(this.#fd)
  }
}

function openFile(path: string, flags: number): number {
  let cause: unknown
  try {
    const fd = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600)
    if (fstatSync(fd).isFile()) return fd
    closeSync(fd)
  } catch (error) {
    if (!isErrno(error, 'EISDIR', 'ELOOP', 'ENXIO')) throw error
    cause = error
  }
  throw new StoreError('STORE_FOREIGN', `${path} is not a regular file`, {
    cause,
    path,
    hint: 'move it away, or make a new root',
  })
}
