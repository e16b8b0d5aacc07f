import type { ByteString } from '../bytes.js'
import type { HostFs } from '../host/host-fs.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'
import { copyAttributes, copyNode } from './copy-node.js'
import { walk } from './walk.js'

/**
 * Copies a whole tree into an empty directory: contents (by the cheapest way that the host has), hard links, holes,
 * owners, xattrs, modes and times. Also copies the root's own attributes.
 * @param onFile called with the size of each regular file that was copied
 * @returns the inode number of each directory that was made
 */
export function copyTree(
  from: SyncFs,
  to: HostFs,
  onFile?: (bytes: number) => void,
): ReadonlyMap<ByteString, bigint> {
  const made = new Map<ByteString, bigint>()
  const links = new Map<string, ByteString>()
  const directories: { path: ByteString; stat: SyncStat }[] = [
    { path: '' as ByteString, stat: from.lstat('' as ByteString) },
  ]
  for (const { path, stat } of walk(from)) {
    const first = stat.nlink > 1 && stat.type !== 'directory' ? links.get(inodeOf(stat)) : undefined
    if (first !== undefined) {
      to.link(first, path)
      continue
    }
    if (stat.nlink > 1) links.set(inodeOf(stat), path)
    const original = { fs: from, path, stat }
    const copy = { fs: to, path }
    copyNode(original, copy, { mode: 'private' })
    if (stat.type === 'directory') {
      directories.push({ path, stat })
      made.set(path, to.lstat(path).ino)
    } else copyAttributes(original, copy)
    if (stat.type === 'file') onFile?.(stat.size)
  }
  for (const { path, stat } of directories.toReversed()) {
    copyAttributes({ fs: from, path, stat }, { fs: to, path })
  }
  return made
}

function inodeOf({ dev, ino }: SyncStat): string {
  return `${dev}:${ino}`
}
