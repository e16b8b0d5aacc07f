import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { compareBytes, joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { SyncFs, SyncStat } from '#layerstack/fs/sync-fs.js'

export interface TreeOptions {
  /** Times from this one on are shown as `now`, because the clock set them. */
  readonly nowNs: bigint
  /** @default true */
  readonly directoryTimes?: boolean
}

const ROOT = '' as ByteString

/** Returns a tree as text, one line per object, so that two trees can be compared. */
export function describeTree(fs: SyncFs, options: TreeOptions, top: ByteString = ROOT): string[] {
  const lines: string[] = []
  const inodes = new Map<string, string>()
  const visit = (path: ByteString) => {
    const stat = fs.lstat(path)
    lines.push(describe(fs, path, stat, options, inodes))
    if (stat.type !== 'directory') return
    const entries = fs.readdir(path).toSorted((a, b) => compareBytes(a.name, b.name))
    for (const { name, type } of entries) {
      const child = joinBytes(path, name)
      if (fs.lstat(child).type !== type) lines.push(`${child}: readdir calls it ${type}`)
      visit(child)
    }
  }
  visit(top)
  return lines
}

function describe(
  fs: SyncFs,
  path: ByteString,
  stat: SyncStat,
  { nowNs, directoryTimes = true }: TreeOptions,
  inodes: Map<string, string>,
): string {
  const words: (string | number)[] = [`/${path}`, stat.type, stat.mode.toString(8), `${stat.uid}:${stat.gid}`]
  if (stat.type !== 'directory' || directoryTimes) {
    words.push(stat.mtimeNs >= nowNs ? 'now' : String(stat.mtimeNs))
  }
  words.push(`links=${stat.nlink}`)
  if (stat.type === 'file') words.push(stat.size, digestOf(fs, path))
  if (stat.type === 'symlink') words.push(`-> ${fs.readlink(path)}`)
  if (stat.type === 'char' || stat.type === 'block') {
    words.push(`${stat.device.major},${stat.device.minor}`)
  }
  if (stat.type !== 'directory' && stat.nlink > 1) {
    const inode = `${stat.dev}:${stat.ino}`
    const first = inodes.get(inode)
    if (first === undefined) inodes.set(inode, path)
    else words.push(`same as /${first}`)
  }
  for (const name of fs.listxattr(path).toSorted(compareBytes)) {
    words.push(`${name}=${fs.getxattr(path, name)?.toString('hex') ?? 'nothing'}`)
  }
  return words.join(' ')
}

function digestOf(fs: SyncFs, path: ByteString): string {
  const file = fs.open(path, constants.O_RDONLY)
  try {
    const hash = createHash('sha256')
    const buffer = Buffer.alloc(65_536)
    for (let position = 0; ;) {
      const count = file.read(buffer, position)
      if (count === 0) return hash.digest('hex').slice(0, 12)
      hash.update(buffer.subarray(0, count))
      position += count
    }
  } finally {
    file.close()
  }
}
