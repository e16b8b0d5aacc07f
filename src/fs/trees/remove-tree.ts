import { isErrno } from '../../errors.js'
import { joinBytes, type ByteString } from '../bytes.js'
import type { FileType, SyncFs } from '../sync-fs.js'

/** Removes an object and everything below it. */
export function removeTree(fs: SyncFs, path: ByteString, type?: FileType): void {
  for (const _ of removing(fs, path, type));
}

/** As `removeTree`, in small steps. Ignores objects that other programs remove in between. */
export function* removing(
  fs: SyncFs,
  path: ByteString,
  type: FileType = fs.lstat(path).type,
): Generator<void, void, void> {
  if (type !== 'directory') {
    gone(() => fs.unlink(path))
    return
  }
  for (const entry of gone(() => fs.readdir(path)) ?? []) {
    yield
    const child = joinBytes(path, entry.name)
    if (entry.type === 'directory') yield* removing(fs, child, entry.type)
    else gone(() => fs.unlink(child))
  }
  gone(() => fs.rmdir(path))
}

/** Returns `undefined` if another program removed the object first. */
export function gone<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}
