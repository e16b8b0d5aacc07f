import { rm } from 'node:fs/promises'
import type { Driver } from '../drivers/driver.js'
import { Lease } from '../durable/lease.js'
import { StoreError } from '../errors.js'
import { isDriverId, type LayerDb } from './layerdb.js'
import type { Orphans } from './orphans.js'

export interface Recovery {
  readonly driver: Driver
  readonly db: LayerDb
  readonly orphans: Orphans
  /** The directory of the leases. */
  readonly leases: string
  /** Whether somebody knows the writable layer of this name. */
  isNamed(writable: string): Promise<boolean>
  /** Whether the consumption of the writable layer of this name is decided, and not finished. */
  isDecided(writable: string): boolean
  removeWritable(name: string): Promise<void>
}

/**
 * Takes away, or finishes, what leases of dead processes name:
 *
 * - `<driver's id>`: a layer that was being made or removed. It goes, unless the layerdb names it.
 * - `writable <name>`: a container's layer that was being made. It goes, unless somebody knows it.
 * - `adopt <mount-id> <cache-id> <name>`: a commit with `consume`. It is dropped, unless it is decided (`Consumptions`).
 * - `uses <mount-id>`, `sha256:…`: what must not be removed meanwhile. Nothing is left of that.
 *
 * And what was being removed from the layerdb when its process died, a dockerd's too.
 */
export async function recover(recovery: Recovery): Promise<void> {
  const { leases, db, driver } = recovery
  // Those that use a container's layer stand in the way of its removal: they go first.
  for (const removes of [false, true]) {
    for await (const { lease, names } of Lease.abandoned(leases)) {
      if (names.some((name) => name.startsWith(WRITABLE)) !== removes) continue
      try {
        if (await recoverNames(recovery, lease, names)) await lease.end()
      } catch (error) {
        // Somebody holds what is to go: a later open finds the lease again.
        if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
      }
    }
  }
  const underWay = await Lease.named(leases)
  for (const { path, cacheId } of await db.removing()) {
    if (cacheId !== undefined && underWay.has(cacheId)) continue
    if (cacheId !== undefined) await driver.remove(cacheId)
    await rm(path, { recursive: true, force: true })
  }
}

/** Of a lease's name: what follows is the name of a writable layer that is being made or removed. */
export const WRITABLE = 'writable '

/** False where it cannot be known what is nobody's, since an entry of the layerdb is damaged: a later open looks again. */
async function recoverNames(
  { db, driver, orphans, ...recovery }: Recovery,
  lease: Lease,
  names: readonly string[],
): Promise<boolean> {
  // What the process stored until it died is known only now that it is dead.
  const named = await db.driverIds()
  if (named === undefined) return false
  for (const name of names.filter((each) => each.startsWith(WRITABLE))) {
    const writable = await db.writable(name.slice(WRITABLE.length))
    if (writable !== undefined && !(await recovery.isNamed(writable.name))) {
      await recovery.removeWritable(writable.name)
    }
  }
  for (const name of names) {
    const [kind, mountId = '', cacheId = '', writable = ''] = name.split(' ')
    if (kind === 'adopt' && [mountId, cacheId].every(isDriverId)) {
      if (recovery.isDecided(writable)) return false
      db.removeWriteSet(cacheId)
      if (!named.has(cacheId) && named.has(mountId)) await giveBack(driver, mountId, cacheId)
    }
  }
  const ids = names.filter(isDriverId)
  for (const id of ids) db.removeWriteSet(id)
  for (const id of await orphans.namedOnlyIn(lease, ids)) await driver.remove(id)
  return true
}

/** Where the file of a decision was lost, the container gets back the layer that the driver adopted. */
async function giveBack(driver: Driver, mountId: string, cacheId: string): Promise<void> {
  if ((await driver.exists(cacheId)) && !(await driver.exists(mountId)))
    await driver.adopt?.(cacheId, mountId)
}
