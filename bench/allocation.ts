import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { fileSystemOf } from '#layerstack/sys/file-system.js'

const BLOCK = 512

/** File systems whose files share blocks, so the blocks of one file don't show what it adds. */
const SHARING = new Set(['btrfs', 'xfs'])

/**
 * Syncs, and returns the allocated bytes at and below a directory. On a file system whose files share blocks, returns
 * those of the whole file system.
 */
export function allocatedOn(directory: string): number {
  execFileSync('sync')
  if (!SHARING.has(fileSystemOf(directory).name)) return allocatedBelow(directory)
  const { blocks, bfree, bsize } = statfsSync(directory)
  return (blocks - bfree) * bsize
}

/**
 * Returns the bytes in allocated blocks at and below a directory. Counts each inode once and skips other mounts. Blocks
 * that several files share count for each file.
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
