import { fdatasync, fsync } from 'node:fs'
import { promisify } from 'node:util'

/**
 * fsync(2), which may take as long as the disk needs. Of the file-system calls here, only syncs run asynchronously,
 * because they wait for the disk. Other calls take microseconds, less than a trip to another thread, so they are
 * synchronous.
 */
export const syncFile: (fd: number) => Promise<void> = promisify(fsync)

/** fdatasync(2): syncs the content and only the metadata needed to read it. */
export const syncData: (fd: number) => Promise<void> = promisify(fdatasync)
