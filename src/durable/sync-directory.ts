import { closeSync, openSync } from 'node:fs'
import { syncFile } from './sync-file.js'
import { isErrno } from '../errors.js'

/** When this resolves, the names in the directory are on disk. Where directories cannot be synced, nothing is done. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = openDirectory(path)
  if (fd === undefined) return
  try {
    await syncFile(fd)
  } finally {
    closeSync(fd)
  }
}

function openDirectory(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if (isErrno(error, 'EISDIR', 'EPERM') && process.platform === 'win32') return undefined
    throw error
  }
}
