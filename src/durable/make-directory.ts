import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
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
