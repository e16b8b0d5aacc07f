import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { makeDirectory } from './make-directory.js'
import { syncDirectory } from './sync-directory.js'

export interface AtomicFileOptions {
  /** Set as given, whatever the umask. @default 0o600 */
  readonly mode?: number
}

/**
 * Writes a file whole. Whatever the moment of a crash, afterwards the path holds what it held before or all of `data`;
 * when this resolves, it is the latter, for good. The directory is made if it is not there.
 *
 * 1. The content is on disk before the name is: the file is synced before the rename.
 * 2. Nobody sees the file half written: it is written under a name of its own.
 * 3. What a crash leaves is a file `.tmp-<name>-<random>`, which nothing reads.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  { mode = 0o600 }: AtomicFileOptions = {},
): Promise<void> {
  const directory = dirname(path)
  await makeDirectory(directory)
  const temporary = join(directory, `.tmp-${basename(path)}-${randomBytes(6).toString('hex')}`)
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(data)
      await file.chmod(mode)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncDirectory(directory)
}
