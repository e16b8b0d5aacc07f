import { readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno } from '../errors.js'
import { isAbandonedName } from '../sys/temporary-name.js'

/**
 * Removes files and directories under temporary names (`temporaryName`) whose process has ended. Looks at the entries of
 * the directory itself, which callers that have read it pass as `names`. Harmless when the directory does not exist.
 */
export async function removeAbandoned(directory: string, names = namesIn(directory)): Promise<void> {
  for (const name of names) {
    if (isAbandonedName(name)) await rm(join(directory, name), { recursive: true, force: true })
  }
}

/** Names in a directory; none when it does not exist. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}
