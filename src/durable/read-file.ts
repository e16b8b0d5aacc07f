import { closeSync, constants, fstatSync, openSync, readFileSync, rmdirSync } from 'node:fs'
import { isErrno, StoreError } from '../errors.js'

const { O_NONBLOCK = 0, O_RDONLY } = constants
/** Larger than any file that is read whole. */
const MAX_BYTES = 256 << 20

/**
 * Reads a whole file of the store. The root may be untrusted, so the type and size are checked before the content is
 * read, and opening a FIFO does not block.
 *
 * @param maxBytes the largest size that the file may have
 * @returns `undefined` if the file does not exist
 * @throws StoreError `STORE_CORRUPT` for a larger file, and for anything but a regular file
 */
export function readFileIfThere(path: string, maxBytes = MAX_BYTES): Buffer | undefined {
  const fd = openIfThere(path)
  if (fd === undefined) return undefined
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw notAFile(path)
    if (stat.size > maxBytes) throw tooLarge(path, stat.size, maxBytes)
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, O_RDONLY | O_NONBLOCK)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    // A socket, or a device without a driver.
    throw isErrno(error, 'ENXIO', 'ENODEV') ? notAFile(path, error) : error
  }
}

/** Removes an empty directory where a file belongs. Throws `STORE_CORRUPT` if it is not empty. */
export function clearDirectory(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw notAFile(path, error)
  }
}

function notAFile(path: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is not a regular file`, {
    path,
    cause,
    hint: 'remove it, or restore the file from a backup',
  })
}

function tooLarge(path: string, size: number, maxBytes: number): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is too large: ${size} bytes, more than ${maxBytes}`, {
    path,
    hint: 'move it away, or restore it from a backup',
  })
}
