import { once } from 'node:events'
import { close, createWriteStream, fsync, open, write } from 'node:fs'
import type { Writable } from 'node:stream'
import { giveBack } from '../tar/chunk-pool.js'

/**
 * Creates a new file for an archive. It exists when this resolves, so an aborted writer cannot create it later. Closing
 * it syncs it. Layer chunks return to their pool once they are written.
 */
export async function outputFile(path: string): Promise<Writable> {
  const calls = { open, close, fsync, write: writeAndGiveBack }
  return opened(createWriteStream(path, { flags: 'wx', flush: true, fs: calls }))
}

/** Creates a new file that is removed after use. It exists when this resolves. */
export function scratchFile(path: string): Promise<Writable> {
  return opened(createWriteStream(path, { flags: 'wx' }))
}

async function opened(output: Writable): Promise<Writable> {
  await once(output, 'open')
  return output
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
