import { closeSync, openSync } from 'node:fs'
import { beginWriteback } from '../sys/sync-file-range.js'
import { syncDirectory } from './sync-directory.js'
import { syncFile } from './sync-file.js'

/**
 * Syncs files and directories concurrently, so that a journaling file system writes its journal once for all of them.
 * ext4 allocates a new file's blocks when it writes them. Writeback of all files therefore starts before the first sync
 * waits; later changes would need another journal write.
 */
export async function syncTogether(what: {
  readonly files?: readonly string[]
  readonly directories?: readonly string[]
}): Promise<void> {
  const { files = [], directories = [] } = what
  const opened: number[] = []
  try {
    // Windows requires write access for a sync.
    for (const path of files) opened.push(openSync(path, 'r+'))
    if (opened.length > 1) opened.forEach(beginWriteback)
    const syncs = await Promise.allSettled([
      ...opened.map((fd) => syncFile(fd)),
      ...directories.map(syncDirectory),
    ])
    const failed = syncs.find((sync) => sync.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}
