import { closeSync, openSync, writeFileSync } from 'node:fs'
import { syncData } from './sync-file.js'

/**
 * Writes over what a file holds, which is as long: no room is taken, and nothing renamed. When this resolves, it is on
 * disk. A crash meanwhile leaves the old bytes, the new ones, or a mixture.
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
