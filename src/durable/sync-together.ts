import { closeSync, openSync } from 'node:fs'
import { beginWriteback } from '../sys/sync-file-range.js'
import { syncDirectory } from './sync-directory.js'
import { syncFile } from './sync-file.js'

/**
 * Brings them to disk at the same time: a file system that has a journal writes it once for all. ext4 gives a new file its
 * blocks when it writes them, so writing all of them begins before the first is waited for: what changed after that
 * would take the journal another time.
 */
export async function syncTogether(what: {
  readonly files?: readonly string[]
  readonly directories?: readonly string[]
}): Promise<void> {
  const { files = [], directories = [] } = what
  const opened: number[] = []
  try {
    // Windows wants them open for writing.
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
