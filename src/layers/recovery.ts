import { rm } from 'node:fs/promises'
import type { Driver } from '../drivers/driver.js'
import type { Lease } from '../durable/lease.js'
import { StoreError } from '../errors.js'
import { driverIdsOf, type Claim, type Claims } from './claims.js'
import type { LayerDb } from './layerdb.js'
import type { Orphans } from './orphans.js'

export interface Recovery {
  readonly driver: Driver
  readonly db: LayerDb
  readonly orphans: Orphans
  readonly claims: Claims
  /** Whether the owner of the writable layer knows its name. */
  isNamed(writable: string): Promise<boolean>
  /** Whether a commit that consumes the writable layer is decided, and not finished. */
  isDecided(writable: string): boolean
  removeWritable(name: string): Promise<void>
}

/**
 * Removes, or finishes, what leases of dead processes claim (`Claim`):
 *
 * - `layer`: the driver layer is removed unless the layerdb names it.
 * - `writable`: the writable layer is removed unless its owner knows it.
 * - `adopt`: the commit is dropped unless it is decided (`Consumptions`).
 * - `use`, `chain`: nothing is left to do.
 *
 * Also removes what was being removed from the layerdb when its process died, a dockerd included.
 */
export async function recover(recovery: Recovery): Promise<void> {
  const { claims, db, driver } = recovery
  // Leases that use a container's layer block its removal, so they end first.
  for (const removes of [false, true]) {
    for await (const { lease, claims: claimed } of claims.abandoned()) {
      if (claimed.some(({ kind }) => kind === 'writable') !== removes) continue
      try {
        if (await recoverClaims(recovery, lease, claimed)) await lease.end()
      } catch (error) {
        // The layer is held. A later open finds the lease again.
        if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
      }
    }
  }
  const underWay = driverIdsOf(await claims.all())
  for (const { path, cacheId } of await db.removing()) {
    if (cacheId !== undefined && underWay.has(cacheId)) continue
    if (cacheId !== undefined) await driver.remove(cacheId)
    await rm(path, { recursive: true, force: true })
  }
}

/** `false` while an entry of the layerdb is damaged, since it may be that of a claimed layer: a later open looks again. */
async function recoverClaims(
  { db, driver, orphans, ...recovery }: Recovery,
  lease: Lease,
  claimed: readonly Claim[],
): Promise<boolean> {
  // The process is dead, so the entries that it made are final.
  const named = await db.driverIds()
  if (named === undefined) return false
  for (const claim of claimed) {
    const writable = claim.kind === 'writable' ? await db.writable(claim.name) : undefined
    if (writable !== undefined && !(await recovery.isNamed(writable.name))) {
      await recovery.removeWritable(writable.name)
    }
  }
  for (const claim of claimed) {
    if (claim.kind !== 'adopt') continue
    const { mountId, cacheId, name } = claim
    if (recovery.isDecided(name)) return false
    db.removeWriteSet(cacheId)
    if (!named.has(cacheId) && named.has(mountId)) await giveBack(driver, mountId, cacheId)
  }
  const ids = claimed.flatMap((claim) => (claim.kind === 'layer' ? [claim.id] : []))
  for (const id of ids) db.removeWriteSet(id)
  for (const id of await orphans.namedOnlyIn(lease, ids)) await driver.remove(id)
  return true
}

/** Where the file of a decision was lost, the container gets back the layer that the driver adopted. */
async function giveBack(driver: Driver, mountId: string, cacheId: string): Promise<void> {
  if ((await driver.exists(cacheId)) && !(await driver.exists(mountId)))
    await driver.adopt?.(cacheId, mountId)
}
