import { closeSync, openSync, writeFileSync } from 'node:fs'
import { syncData } from './sync-file.js'

/**
 * Overwrites a file's content with bytes of the same length, so it needs no new space and no rename. Once this
 * resolves, the bytes are on disk. A crash meanwhile leaves the old bytes, the new ones, or a mixture.
 */
export async function overwriteFile(path: string, bytes: string | Uint8Array): Promise<void> {
  const fd = openSync(path, 'r+')
  try {
    writeFileSync(fd, bytes)
    await syncData(fd)
  } finally {
    closeSync(fd)
  }
}
