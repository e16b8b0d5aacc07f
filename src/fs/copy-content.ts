import { read as readWithCallback, write as writeWithCallback } from 'node:fs'
import { promisify } from 'node:util'
import { copyFileRange, ficlone } from '../sys/clone.js'
import { libcAvailable } from '../sys/libc.js'
import { dataRanges } from '../sys/seek.js'
import type { SyncFile, SyncStat } from './sync-fs.js'

const read = promisify(readWithCallback)
const write = promisify(writeWithCallback)

/** Below this size, reading and writing is faster than a copy in the kernel. */
const SMALL = 64 * 1024
const PIECE = 1024 * 1024
const buffer = Buffer.allocUnsafeSlow(SMALL)
const ZEROS = Buffer.alloc(PIECE)

/**
 * Copies the first `size` bytes of a file into a new file by the cheapest way that the host has: shared blocks, a copy
 * inside the kernel, or reads and writes. Holes stay holes.
 * @param stat of the source file
 */
export function copyContent(from: SyncFile, to: SyncFile, size: number, stat: SyncStat): void {
  const sparse = isSparse(stat)
  const kernel = kernelCopy(from, to)
  if (kernel !== undefined) {
    if (size === stat.size && ficlone(kernel.from, kernel.to)) return
    if (sparse) to.truncate(size)
    for (const [start, end] of sparse ? dataRanges(kernel.from, size) : [[0, size] as const]) {
      copyRange(from, to, kernel, start, end)
    }
  } else {
    if (sparse) to.truncate(size)
    copyByHand(from, to, 0, size, sparse)
  }
}

/**
 * As `copyContent`, but copies the whole file. Reads and writes run on the thread pool, so the event loop stays free.
 * Rejects if `signal` aborts.
 */
export async function copyContentInPieces(
  from: SyncFile,
  to: SyncFile,
  stat: SyncStat,
  signal: AbortSignal,
): Promise<void> {
  const { size } = stat
  const kernel = kernelCopy(from, to)
  if (kernel !== undefined && ficlone(kernel.from, kernel.to)) return
  const sparse = isSparse(stat)
  if (sparse) to.truncate(size)
  const piece = Buffer.allocUnsafeSlow(PIECE)
  for (let position = 0; position < size;) {
    signal.throwIfAborted()
    const { bytesRead } = await read(fdOf(from), piece, 0, PIECE, position)
    if (bytesRead === 0) return
    const content = piece.subarray(0, bytesRead)
    if (!(sparse && isZero(content))) await writeAll(fdOf(to), content, position)
    position += bytesRead
  }
}

interface Descriptors {
  readonly from: number
  readonly to: number
}

function kernelCopy(from: SyncFile, to: SyncFile): Descriptors | undefined {
  if (from.fd === undefined || to.fd === undefined || !libcAvailable().works) return undefined
  return { from: from.fd, to: to.fd }
}

function isSparse(stat: SyncStat): boolean {
  return stat.blocks * 512 < stat.size
}

function copyRange(from: SyncFile, to: SyncFile, kernel: Descriptors, start: number, end: number): void {
  let position = start
  while (end - position > SMALL) {
    const copied = copyFileRange(kernel.from, kernel.to, position, end - position)
    if (copied === 0) return
    if (copied === undefined) break
    position += copied
  }
  copyByHand(from, to, position, end, false)
}

function copyByHand(from: SyncFile, to: SyncFile, start: number, end: number, skipsZeros: boolean): void {
  for (let position = start; position < end;) {
    const count = from.read(buffer.subarray(0, Math.min(SMALL, end - position)), position)
    if (count === 0) return
    const content = buffer.subarray(0, count)
    if (!(skipsZeros && isZero(content))) {
      for (let done = 0; done < count;) done += to.write(content.subarray(done), position + done)
    }
    position += count
  }
}

async function writeAll(fd: number, content: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < content.length;) {
    const { bytesWritten } = await write(fd, content, done, content.length - done, position + done)
    done += bytesWritten
  }
}

function isZero(content: Buffer): boolean {
  return content.equals(ZEROS.subarray(0, content.length))
}

/** Files of the host always have a descriptor. */
function fdOf(file: SyncFile): number {
  return file.fd as number
}
