import { constants } from 'node:fs'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { walk } from '#layerstack/fs/walk.js'

/** A whole tree as text, one line a path: type, mode, owner, xattrs, links and content. */
export function describeTree(fs: RawFs): string[] {
  const lines: string[] = []
  const names = new Map<string, string>()
  for (const { path, stat } of walk(fs)) {
    const inode = `${stat.dev}:${stat.ino}`
    const first = stat.type !== 'directory' && stat.nlink > 1 ? names.get(inode) : undefined
    names.set(inode, names.get(inode) ?? path)
    const owner = `${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`
    const xattrs = fs
      .listxattr(path)
      .filter((name) => !name.startsWith('security.selinux'))
      .toSorted()
      .map((name) => `${name}=${fs.getxattr(path, name)?.toString('hex')}`)
    lines.push(
      [path, stat.type, owner, ...xattrs, first === undefined ? contentAt(fs, path) : `= ${first}`].join(' '),
    )
  }
  return lines
}

function contentAt(fs: RawFs, path: ByteString): string {
  const stat = fs.lstat(path)
  switch (stat.type) {
    case 'file':
      return JSON.stringify(readAll(fs, path))
    case 'symlink':
      return `-> ${fs.readlink(path)}`
    case 'char':
    case 'block':
      return `${stat.device.major}:${stat.device.minor}`
    default:
      return ''
  }
}

function readAll(fs: RawFs, path: ByteString): string {
  const file = fs.open(path, constants.O_RDONLY)
  const buffer = Buffer.alloc(file.stat().size)
  const length = file.read(buffer, 0)
  file.close()
  return buffer.toString('latin1', 0, length)
}
