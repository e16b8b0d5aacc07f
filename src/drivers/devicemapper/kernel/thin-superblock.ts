import { closeSync, openSync, readSync } from 'node:fs'

const MAGIC_AT = 32
const MAGIC = 27022010n
const BLOCK_SECTORS_AT = 336

/** Reports whether a file or device begins with the metadata of a thin pool. */
export function hasThinSuperblock(path: string): boolean {
  return thinBlockSectors(path) !== undefined
}

/** Returns the data block size, in sectors, of the pool whose metadata begins there. `undefined` if none does. */
export function thinBlockSectors(path: string): number | undefined {
  const bytes = Buffer.alloc(512)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, bytes, 0, bytes.length, 0)
  } finally {
    closeSync(fd)
  }
  return bytes.readBigUInt64LE(MAGIC_AT) === MAGIC ? bytes.readUInt32LE(BLOCK_SECTORS_AT) : undefined
}
