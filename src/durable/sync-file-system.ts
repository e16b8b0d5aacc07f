import { closeSync, openSync } from 'node:fs'
import { syncfsElsewhere } from '../sys/syncfs.js'

/** Brings everything of the file system that a directory is on to disk, while this thread goes on. Linux, with system calls. */
export async function syncFileSystem(directory: string): Promise<void> {
  const fd = openSync(directory, 'r')
  try {
    await syncfsElsewhere(fd)
  } finally {
    closeSync(fd)
  }
}
