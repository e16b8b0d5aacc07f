import { constants, openSync } from 'node:fs'
import { isErrno } from '../errors.js'
import { clearDirectory } from './read-file.js'

/**
 * Opens a lock's file, creating it if necessary. Replaces an empty directory, which a disk fault may have left in its
 * place.
 */
export function openLockFile(path: string): number {
  const open = () => openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
  try {
    return open()
  } catch (error) {
    if (!isErrno(error, 'EISDIR')) throw error
    clearDirectory(path)
    return open()
  }
}
