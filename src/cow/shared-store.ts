import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { loadChecksum } from './checksum.js'
import { FileDevice } from './file-device.js'
import { openGuard, type FileGuard } from './file-guard.js'
import type { Guard } from './guard.js'
import { makeStoreFile } from './store-file.js'
import { CowStore } from './store.js'

export interface SharedStoreOptions {
  /** The file must exist. @default false */
  readonly readOnly?: boolean
  /** In bytes. The first caller to open the store sets it; see `StoreOptions`. */
  readonly cache?: number | undefined
}

/** One user's handle on a store that this process shares. */
export interface SharedStore {
  readonly store: CowStore
  /** Closes the store if this is the last user. May be called twice. */
  close(): Promise<void>
}

interface Entry {
  users: number
  readonly opening: Promise<{ readonly store: CowStore; readonly guard: FileGuard | undefined }>
}

const entries = new Map<string, Entry>()
const closing = new Map<string, Promise<void>>()

/**
 * Opens the store in a file. Creates the file if it is missing, unless `readOnly`. Within this process, all callers of
 * one path share one read-only and one writable store.
 */
export async function openSharedStore(path: string, options: SharedStoreOptions = {}): Promise<SharedStore> {
  const { readOnly = false } = options
  const key = `${readOnly ? 'r' : 'w'}:${join(realpathSync(dirname(path)), basename(path))}`
  let entry = entries.get(key)
  if (entry === undefined) {
    const before = closing.get(key) ?? Promise.resolve()
    entry = { users: 0, opening: before.then(() => open(path, options)) }
    entries.set(key, entry)
  }
  entry.users++
  const close = leaving(key, entry)
  try {
    return { store: (await entry.opening).store, close }
  } catch (error) {
    if (entries.get(key) === entry) entries.delete(key)
    throw error
  }
}

async function open(path: string, { readOnly = false, cache }: SharedStoreOptions) {
  const checksum = await loadChecksum()
  const guard = readOnly ? undefined : await openGuard(`${path}.lock`)
  let device: FileDevice | undefined
  try {
    if (guard !== undefined) await makeStoreFile(path, checksum, guard)
    device = new FileDevice(path, { readOnly })
    const store = CowStore.open(device, {
      checksum,
      cache,
      readOnly,
      guard: guard ?? READER,
      mustExist: true,
    })
    return { store, guard }
  } catch (error) {
    device?.close()
    await guard?.close()
    throw error
  }
}

function leaving(key: string, entry: Entry): () => Promise<void> {
  let left: Promise<void> | undefined
  return () => (left ??= leave(key, entry))
}

async function leave(key: string, entry: Entry): Promise<void> {
  if (--entry.users > 0) return
  if (entries.get(key) === entry) entries.delete(key)
  const work = entry.opening
    .then(async ({ store, guard }) => {
      try {
        await store.close()
      } finally {
        await guard?.close()
      }
    })
    .finally(() => {
      if (closing.get(key) === work) closing.delete(key)
    })
  closing.set(
    key,
    work.catch(() => undefined),
  )
  await work
}

/** The guard of a store that is open read-only: this process never changes it, other processes may. */
const READER: Guard = {
  tryAcquire: () => false,
  release: () => undefined,
  forgo: () => undefined,
  isWanted: () => false,
}
