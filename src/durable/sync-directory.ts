import { open } from 'node:fs/promises'
import { isErrno } from '../errors.js'

/** When this resolves, the names in the directory are on disk. Where directories cannot be synced, nothing is done. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r').catch((error: unknown) => {
    if (isErrno(error, 'EISDIR', 'EPERM') && process.platform === 'win32') return undefined
    throw error
  })
  try {
    await directory?.sync()
  } finally {
    await directory?.close()
  }
}
