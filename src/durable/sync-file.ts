import { fdatasync, fsync } from 'node:fs'
import { promisify } from 'node:util'

/**
 * fsync(2), which may take as long as the disk likes. It is the one call here that waits for the disk; others take
 * microseconds, less than a trip to another thread, and are made at once.
 */
export const syncFile: (fd: number) => Promise<void> = promisify(fsync)

/** fdatasync(2): the content, and of the rest what is needed to find it. */
export const syncData: (fd: number) => Promise<void> = promisify(fdatasync)
