import type { SyncFile } from '../fs/sync-fs.js'
import type { TarHeader } from './part.js'

/** Attributes that are set on a regular file when its content is written. */
export type FileAttributes = Pick<TarHeader, 'uid' | 'gid' | 'mode' | 'atimeNs' | 'mtimeNs'>

/** Takes over an empty regular file and its whole content. `false` means that it did not take it and did nothing. */
export type TakeFile = (file: SyncFile, attributes: FileAttributes, content: Uint8Array) => boolean

/**
 * Sets owner, xattrs, mode and times in that order, so that no step undoes another. A change of owner clears
 * capabilities and set-id bits, and times come last.
 * @param setXattrs called when xattrs are to be set
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
