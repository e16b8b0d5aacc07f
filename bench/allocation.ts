import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { fileSystemOf } from '#layerstack/sys/file-system.js'

const BLOCK = 512

/** Whose files share blocks: that of a file says nothing of what it takes. */
const SHARING = new Set(['btrfs', 'xfs'])

/**
 * Bytes that are allocated, when all is written out: at and below a directory, or, where files share blocks, on the whole
 * file system.
 */
export function allocatedOn(directory: string): number {
  execFileSync('sync')
  if (!SHARING.has(fileSystemOf(directory).name)) return allocatedBelow(directory)
  const { blocks, bfree, bsize } = statfsSync(directory)
  return (blocks - bfree) * bsize
}

/**
 * Bytes in allocated blocks at and below a directory, each inode once, mounts left out. Blocks that files share are
 * counted for each.
 */
function allocatedBelow(directory: string): number {
  const top = lstatSync(directory, { throwIfNoEntry: false })
  if (top === undefined) return 0
  const seen = new Set<number>()
  const count = (path: string): number => {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined || stat.dev !== top.dev) return 0
    if (stat.nlink > 1 && !stat.isDirectory()) {
      if (seen.has(stat.ino)) return 0
      seen.add(stat.ino)
    }
    const own = (stat.blocks ?? 0) * BLOCK
    if (!stat.isDirectory()) return own
    return readdirSync(path).reduce((sum, name) => sum + count(join(path, name)), own)
  }
  return count(directory)
}
