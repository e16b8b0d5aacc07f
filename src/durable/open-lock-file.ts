import { constants, openSync } from 'node:fs'
import { isErrno } from '../errors.js'
import { clearDirectory } from './read-file.js'

/** Opens the file of a lock, and makes it if need be. A fault of the disk can leave an empty directory in its place. */
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
