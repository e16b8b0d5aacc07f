import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Driver } from '../drivers/driver.js'
import { removeAbandoned } from '../durable/abandoned.js'
import { clearLockFiles } from '../durable/lock-file.js'
import { Lease } from '../durable/lease.js'
import { StoreError } from '../errors.js'
import type { Consumptions } from './consumption.js'
import type { LayerDb } from './layerdb.js'

export interface LeftoverPlaces {
  /** The data root. */
  readonly root: string
  readonly driver: Driver
  readonly db: LayerDb
  /** The directory of the leases. */
  readonly leases: string
  readonly consumptions: Consumptions
}

/** Layers of ours have such ids, and so have Docker's. BuildKit's have others, and no layerdb names them. */
const OWN_ID = /^[a-f0-9]{64}$/

/**
 * Clears what is left where a lease is lost. After a power cut a file system may have kept the end of a lease and not the
 * removals before it; Btrfs does, which logs directories apart.
 *
 * Leases are read after the directories that hold half-made things. So a write set or a layer without a lease has no
 * living maker: either it is complete and the layerdb, read last, names it, or it is left over. What a decided consumption
 * names is kept for it.
 */
export async function clearLeftovers({
  root,
  driver,
  db,
  leases,
  consumptions,
}: LeftoverPlaces): Promise<void> {
  const writeSets = await db.writeSets()
  const onDisk = isShared(root) ? [] : ((await driver.idsOnDisk?.()) ?? [])
  const leased = await leasedIds(leases)
  for (const { mountId, layer } of await consumptions.list()) leased.add(mountId).add(layer.cacheId)
  for (const id of writeSets) if (!leased.has(id)) db.removeWriteSet(id)
  const settled = onDisk.filter((id) => OWN_ID.test(id) && !leased.has(id))
  for (const id of await orphansOf(db, settled, leased)) await removeUnlessUsed(driver, id)
  for (const directory of [leases, consumptions.directory]) {
    await removeAbandoned(directory)
    await clearLockFiles(directory)
  }
}

/** Words of all names in leases; ids are among them. */
export async function leasedIds(leases: string): Promise<Set<string>> {
  const names = await Lease.named(leases)
  return new Set([...names].flatMap((name) => name.split(' ')))
}

/**
 * Reads the layerdb, which takes time, only where it names fewer layers than there are. While it names one that is not
 * there, that name may be a damaged one of any of the others.
 */
async function orphansOf(
  db: LayerDb,
  kept: readonly string[],
  leased: ReadonlySet<string>,
): Promise<string[]> {
  const layers = (await db.chainIds()).length + (await db.writableNames()).length
  if (kept.length <= layers) return []
  const named = await db.driverIds()
  if (named === undefined) return []
  const there = new Set([...kept, ...leased])
  return [...named].every((id) => there.has(id)) ? kept.filter((id) => !named.has(id)) : []
}

/** Whether a dockerd uses the root too. It may keep layers that no layerdb names. */
function isShared(root: string): boolean {
  return existsSync(join(root, 'containers')) || existsSync(join(root, 'engine-id'))
}

/** Another process may be removing the same leftover. */
async function removeUnlessUsed(driver: Driver, id: string): Promise<void> {
  try {
    await driver.remove(id)
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
  }
}
