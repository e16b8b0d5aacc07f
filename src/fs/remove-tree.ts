import { joinBytes, type ByteString } from './bytes.js'
import type { FileType, RawFs } from './raw-fs.js'

/** Removes an object and everything below it. */
export function removeTree(fs: RawFs, path: ByteString, type: FileType = fs.lstat(path).type): void {
  if (type !== 'directory') {
    fs.unlink(path)
    return
  }
  for (const entry of fs.readdir(path)) removeTree(fs, joinBytes(path, entry.name), entry.type)
  fs.rmdir(path)
}
