import { mkdirSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { temporaryName } from '../sys/temporary-name.js'
import { syncDirectory } from './sync-directory.js'

export interface MakeDirectoryOptions {
  /** Of the directories that are made; the umask applies. @default 0o777 */
  readonly mode?: number
}

/** Makes a directory, and those above it. When this resolves, those that it made are there for good. */
export async function makeDirectory(
  path: string,
  { mode = 0o777 }: MakeDirectoryOptions = {},
): Promise<void> {
  const first = mkdirSync(path, { recursive: true, mode })
  if (first === undefined) return
  const above = dirname(resolve(first))
  for (let made = resolve(path); made !== above; made = dirname(made)) await syncDirectory(dirname(made))
}

/** Makes a directory that the caller removes, and `removeAbandoned` when the caller's process has ended. */
export async function makeTemporaryDirectory(directory: string, label: string): Promise<string> {
  const path = join(directory, temporaryName(label))
  await mkdir(path, { mode: 0o700 })
  return path
}
