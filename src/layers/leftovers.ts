import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { removeAbandoned } from '../durable/abandoned.js'
import { clearLockFiles } from '../durable/lock-file.js'
import { StoreError } from '../errors.js'
import { driverIdsOf, type Claims } from './claims.js'
import type { LayerDb } from './layerdb.js'
import type { Orphans } from './orphans.js'

export interface LeftoverPlaces {
  /** The data root. */
  readonly root: string
  readonly db: LayerDb
  readonly orphans: Orphans
  readonly claims: Claims
  /** Other directories with temporary files and locks. */
  readonly others: readonly string[]
}

/** Layers of ours have such ids, and so have Docker's. BuildKit's have others, and no layerdb names them. */
const OWN_ID = /^[a-f0-9]{64}$/

/**
 * Clears what is left where a lease is lost. After a power cut a file system may have kept the end of a lease and not the
 * removals before it; Btrfs does, which logs directories apart.
 *
 * Leases are read after the directories that hold half-made things. So a write set without a lease has no living maker.
 */
export async function clearLeftovers({ root, db, claims, orphans, others }: LeftoverPlaces): Promise<void> {
  const writeSets = await db.writeSets()
  const claimed = driverIdsOf(await claims.all())
  for (const id of writeSets) if (!claimed.has(id)) db.removeWriteSet(id)
  const left = isShared(root) ? [] : await orphans.leftovers()
  for (const id of left) if (OWN_ID.test(id)) await removeUnlessUsed(orphans, id)
  for (const directory of [claims.directory, ...others]) {
    await removeAbandoned(directory)
    await clearLockFiles(directory)
  }
}

/** Whether a dockerd uses the root too. It may keep layers that no layerdb names. */
function isShared(root: string): boolean {
  return existsSync(join(root, 'containers')) || existsSync(join(root, 'engine-id'))
}

/** Another process may be removing the same leftover. */
async function removeUnlessUsed(orphans: Orphans, id: string): Promise<void> {
  try {
    await orphans.remove(id)
  } catch (error) {
    if (error instanceof StoreError && (error.code === 'LAYER_IN_USE' || error.code === 'LAYER_NOT_FOUND'))
      return
    throw error
  }
}
