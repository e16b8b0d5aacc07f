import { closeSync, openSync } from 'node:fs'
import { syncDirectory } from './sync-directory.js'
import { syncFile } from './sync-file.js'

/** Brings them to disk at the same time: a file system that has a journal writes it once for all. */
export async function syncTogether(what: {
  readonly files?: readonly string[]
  readonly directories?: readonly string[]
}): Promise<void> {
  const { files = [], directories = [] } = what
  await Promise.all([...files.map(syncPath), ...directories.map(syncDirectory)])
}

async function syncPath(path: string): Promise<void> {
  // Windows wants it open for writing.
  const fd = openSync(path, 'r+')
  try {
    await syncFile(fd)
  } finally {
    closeSync(fd)
  }
}
