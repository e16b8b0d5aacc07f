import { existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { syncDirectory } from '../durable/sync-directory.js'
import type { Checksum } from './checksum.js'
import { FileDevice } from './file-device.js'
import { CowStore, locked, PATIENCE, type Guard } from './store.js'

const WAIT = 2

/**
 * Makes the file of an empty store where there is none, as one of several processes that may want that. Whatever the
 * moment of a crash, the path holds nothing or a whole store: it is made under another name, and synced before the rename.
 * The next one who makes it takes away what a crash left there. So a file that is empty is one that lost what it had.
 */
export async function makeStoreFile(path: string, checksum: Checksum, guard: Guard): Promise<void> {
  if (existsSync(path)) return
  await acquire(guard, path)
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

async function acquire(guard: Guard, path: string): Promise<void> {
  const end = Date.now() + PATIENCE
  while (!guard.tryAcquire()) {
    if (Date.now() >= end) {
      guard.forgo()
      throw locked(path)
    }
    await sleep(WAIT)
  }
}
