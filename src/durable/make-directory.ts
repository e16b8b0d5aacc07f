import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { isErrno } from '../errors.js'
import { dropAcls } from '../sys/acl.js'
import { temporaryName } from '../sys/temporary-name.js'
import { syncDirectory } from './sync-directory.js'

export interface MakeDirectoryOptions {
  /**
   * Permission bits of each directory that is made. They are set as given: the umask, and a set-group-ID bit or a default
   * ACL of the parent, have no effect.
   * @default 0o700
   */
  readonly mode?: number
}

/** Makes a directory and its missing parents. The new directories are durable when it resolves. */
export async function makeDirectory(
  path: string,
  { mode = 0o700 }: MakeDirectoryOptions = {},
): Promise<void> {
  for (const made of makeDirectories(path, mode)) await syncDirectory(dirname(made))
}

/** The same without syncing. @returns the directories that were made, lowest first */
export function makeDirectories(path: string, mode: number): string[] {
  const first = mkdirSync(path, { recursive: true, mode })
  if (first === undefined) return []
  const above = dirname(resolve(first))
  const made: string[] = []
  for (let next = resolve(path); next !== above; next = dirname(next)) made.push(next)
  for (const directory of made.toReversed()) settleMode(directory, mode)
  return made
}

/**
 * Makes a directory of the store, as `makeDirectories`, and corrects the mode of one that exists: a crash may have left it
 * as the umask made it. A directory of another user stays as it is.
 */
export function makeStoreDirectory(path: string, mode: number): void {
  if (makeDirectories(path, mode).length > 0) return
  try {
    settleMode(path, mode)
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EROFS')) throw error
  }
}

/** A default ACL goes too, so that nothing made below inherits it. */
function settleMode(directory: string, mode: number): void {
  dropAcls(directory)
  if ((lstatSync(directory).mode & 0o7777) !== mode) chmodSync(directory, mode)
}

/** Makes a directory that the caller removes, and `removeAbandoned` when the caller's process has ended. */
export async function makeTemporaryDirectory(directory: string, label: string): Promise<string> {
  const path = join(directory, temporaryName(label))
  await mkdir(path, { mode: 0o700 })
  return path
}
