import { chmodSync, lstatSync, mkdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { isErrno } from '../errors.js'
import { dropAcls } from '../sys/acl.js'
import { temporaryName } from '../sys/temporary-name.js'
import { syncDirectory } from './sync-directory.js'

export interface MakeDirectoryOptions {
  /**
   * Permission bits of each new directory. Set exactly: the umask, the parent's set-group-ID bit and its default ACL
   * have no effect.
   * @default 0o700
   */
  readonly mode?: number
}

/** Makes a directory and its missing parents. Once this resolves, the new directories are durable. */
export async function makeDirectory(
  path: string,
  { mode = 0o700 }: MakeDirectoryOptions = {},
): Promise<void> {
  for (const made of makeDirectories(path, mode)) await syncDirectory(dirname(made))
}

/**
 * The same without syncing.
 * @returns the new directories, deepest first
 */
export function makeDirectories(path: string, mode: number): string[] {
  const first = mkdirSync(path, { recursive: true, mode })
  if (first === undefined) return []
  const above = dirname(resolve(first))
  const made: string[] = []
  for (let next = resolve(path); next !== above; next = dirname(next)) made.push(next)
  for (const directory of made.toReversed()) setStoreMode(directory, mode)
  return made
}

/**
 * Makes a store directory like `makeDirectories`, and corrects the mode of an existing one: a crash may have left it
 * with the mode that the umask gave it. A directory that belongs to another user is left unchanged.
 */
export function makeStoreDirectory(path: string, mode: number): void {
  if (makeDirectories(path, mode).length > 0) return
  try {
    setStoreMode(path, mode)
  } catch (error) {
    if (!isErrno(error, 'EPERM', 'EROFS')) throw error
  }
}

/** Also removes a default ACL, so that entries created below do not inherit it. */
function setStoreMode(directory: string, mode: number): void {
  dropAcls(directory)
  if ((lstatSync(directory).mode & 0o7777) !== mode) chmodSync(directory, mode)
}

/** Makes a directory that the caller must remove. `removeAbandoned` removes it after the caller's process has ended. */
export async function makeTemporaryDirectory(directory: string, label: string): Promise<string> {
  const path = join(directory, temporaryName(label))
  await mkdir(path, { mode: 0o700 })
  return path
}
