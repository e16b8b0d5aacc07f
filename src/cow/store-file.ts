import { existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { syncDirectory } from '../durable/sync-directory.js'
import type { Checksum } from './checksum.js'
import { FileDevice } from './file-device.js'
import { acquireGuard, type Guard } from './guard.js'
import { CowStore, locked } from './store.js'

/**
 * Makes the file of an empty store where there is none, as one of several processes that may want that. Whatever the
 * moment of a crash, the path holds nothing or a whole store: it is made under another name, and synced before the rename.
 * The next one who makes it takes away what a crash left there. So a file that is empty is one that lost what it had.
 */
export async function makeStoreFile(path: string, checksum: Checksum, guard: Guard): Promise<void> {
  if (existsSync(path)) return
  if (!(await acquireGuard(guard))) throw locked(path)
  try {
    if (existsSync(path)) return
    const draft = `${path}.new`
    rmSync(draft, { force: true })
    try {
      await CowStore.open(new FileDevice(draft), { checksum }).close()
      renameSync(draft, path)
    } catch (error) {
      rmSync(draft, { force: true })
      throw error
    }
    await syncDirectory(dirname(path))
  } finally {
    guard.release()
  }
}
