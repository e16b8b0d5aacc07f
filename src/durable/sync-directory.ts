import { closeSync, openSync } from 'node:fs'
import { syncFile } from './sync-file.js'
import { isErrno } from '../errors.js'

/** Once this resolves, the names in the directory are on disk. A no-op on platforms that cannot sync directories. */
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
