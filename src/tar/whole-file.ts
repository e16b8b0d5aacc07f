import type { SyncFile } from '../fs/sync-fs.js'
import type { TarHeader } from './part.js'

/** What is set of a regular file when its content is written. */
export type FileAttributes = Pick<TarHeader, 'uid' | 'gid' | 'mode' | 'atimeNs' | 'mtimeNs'>

/** Takes over an empty regular file whose whole content is there; `false`: it does not, and nothing is done. */
export type TakeFile = (file: SyncFile, attributes: FileAttributes, content: Uint8Array) => boolean

/**
 * Each sets what the next would clear: a change of owner clears capabilities and set-id bits, and all of them the times.
 * @param setXattrs is called where xattrs are to be set
 */
export function setFileAttributes(
  file: SyncFile,
  { uid, gid, mode, atimeNs, mtimeNs }: FileAttributes,
  setXattrs?: () => void,
): void {
  file.chown(uid, gid)
  setXattrs?.()
  file.chmod(mode)
  file.utimes(atimeNs ?? mtimeNs, mtimeNs)
}

export function writeAll(file: SyncFile, bytes: Uint8Array, position: number): void {
  for (let at = 0; at < bytes.length;) at += file.write(bytes.subarray(at), position + at)
}
