import { existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { syncDirectory } from '../durable/sync-directory.js'
import type { Checksum } from './checksum.js'
import { FileDevice } from './file-device.js'
import { acquireGuard, type Guard } from './guard.js'
import { CowStore, locked } from './store.js'

/**
 * Creates the file of an empty store if it is missing. Several processes may try this at once.
 *
 * After a crash at any moment, the path holds nothing or a complete store. The store is created under another name, and
 * synced before the rename. The next attempt removes what a crash left under that name. So an empty file at the path
 * has lost its content.
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
