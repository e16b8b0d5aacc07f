import { constants } from 'node:fs'
import type { ByteString } from '../bytes.js'
import { copyContent } from '../copy-content.js'
import type { HostFs } from '../host/host-fs.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'
import { walk } from './walk.js'

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants

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
    copyNode(from, to, path, stat)
    if (stat.type === 'directory') {
      directories.push({ path, stat })
      made.set(path, to.lstat(path).ino)
    } else setAttributes(from, to, path, stat)
    if (stat.type === 'file') onFile?.(stat.size)
  }
  for (const { path, stat } of directories.toReversed()) setAttributes(from, to, path, stat)
  return made
}

function copyNode(from: SyncFs, to: HostFs, path: ByteString, stat: SyncStat): void {
  switch (stat.type) {
    case 'directory':
      return to.mkdir(path, 0o700)
    case 'symlink':
      return to.symlink(from.readlink(path), path)
    case 'file':
      return copyFile(from, to, path, stat)
    default:
      return to.mknod(path, stat.type, stat.mode, stat.device)
  }
}

function copyFile(from: SyncFs, to: HostFs, path: ByteString, stat: SyncStat): void {
  const source = from.open(path, O_RDONLY)
  try {
    const copy = to.open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    try {
      copyContent(source, copy, stat.size, stat)
    } finally {
      copy.close()
    }
  } finally {
    source.close()
  }
}

/** The order matters: a chown clears set-ID bits and file capabilities. */
function setAttributes(from: SyncFs, to: HostFs, path: ByteString, stat: SyncStat): void {
  to.chown(path, stat.uid, stat.gid)
  for (const name of from.listxattr(path)) {
    const value = from.getxattr(path, name)
    if (value !== undefined) to.setxattr(path, name, value)
  }
  if (stat.type !== 'symlink') to.chmod(path, stat.mode)
  to.utimes(path, stat.atimeNs, stat.mtimeNs)
}

function inodeOf({ dev, ino }: SyncStat): string {
  return `${dev}:${ino}`
}
