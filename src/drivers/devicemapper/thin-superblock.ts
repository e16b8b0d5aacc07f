import { closeSync, openSync, readSync } from 'node:fs'

const MAGIC_AT = 32
const MAGIC = 27022010n

/** Whether a file or device begins as the metadata of a thin pool does. */
export function hasThinSuperblock(path: string): boolean {
  const bytes = Buffer.alloc(512)
  const fd = openSync(path, 'r')
  try {
    readSync(fd, bytes, 0, bytes.length, 0)
  } finally {
    closeSync(fd)
  }
  return bytes.readBigUInt64LE(MAGIC_AT) === MAGIC
}
