import { readFileSync, rmdirSync } from 'node:fs'
import { isErrno, StoreError } from '../errors.js'

/**
 * The content of a file of the store; `undefined` where there is no such file. A directory in its place is
 * `STORE_CORRUPT`.
 */
export function readFileIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw isErrno(error, 'EISDIR') ? notAFile(path, error) : error
  }
}

/** Takes an empty directory away from where a file belongs. Rejects with `STORE_CORRUPT` for one that holds something. */
export function clearDirectory(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw notAFile(path, error)
  }
}

function notAFile(path: string, cause: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is a directory, where the store keeps a file`, {
    path,
    cause,
    hint: 'remove the directory, or restore the file from a backup',
  })
}
