import { readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '../errors.js'
import { isAbandonedName } from '../sys/temporary-name.js'

/**
 * Removes files and directories with temporary names (`temporaryName`) whose process has ended. Examines only direct
 * entries of the directory; callers that have already read it pass them as `names`. A no-op if the directory does not
 * exist.
 */
export async function removeAbandoned(directory: string, names = namesIn(directory)): Promise<void> {
  for (const name of names) {
    if (isAbandonedName(name)) await rm(join(directory, name), { recursive: true, force: true })
  }
}

/** Returns the names in a directory; empty if it does not exist. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}
