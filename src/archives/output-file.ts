import { close, createWriteStream, fsync, open, write } from 'node:fs'
import type { Writable } from 'node:stream'
import { giveBack } from '../tar/chunk-pool.js'

/** A file for an archive. It is on disk when it is closed, and chunks of layers are given back when they are written. */
export function outputFile(path: string): Writable {
  const calls = { open, close, fsync, write: writeAndGiveBack }
  return createWriteStream(path, { flush: true, fs: calls })
}

function writeAndGiveBack(
  fd: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: number | null,
  done: (error: NodeJS.ErrnoException | null, count: number, bytes: Uint8Array) => void,
): void {
  write(fd, bytes, offset, length, position, (error, count) => {
    if (error === null && offset + count === bytes.length) giveBack(bytes)
    done(error, count, bytes)
  })
}
