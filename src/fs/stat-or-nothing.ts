import { isErrno } from '../errors.js'
import type { ByteString } from './bytes.js'
import type { SyncFs, SyncStat } from './sync-fs.js'

/** As `find`, but also returns `undefined` if the path's directory does not exist or is not a directory. */
export function statOrNothing(fs: SyncFs, path: ByteString): SyncStat | undefined {
  try {
    return fs.find(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
