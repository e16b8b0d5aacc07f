import type { Driver } from '../drivers/driver.js'
import { Lease } from '../durable/lease.js'
import { Lock } from '../durable/lock.js'
import { StoreError } from '../errors.js'
import type { Consumptions } from './consumption.js'
import type { LayerDb } from './layerdb.js'

export interface OrphanPlaces {
  readonly driver: Driver
  readonly db: LayerDb
  /** The directory of the leases. */
  readonly leases: string
  /** The lock of the layers. */
  readonly lockFile: string
  readonly consumptions: Consumptions
}

/**
 * Layers that the driver keeps and nothing needs. Removing one that is needed loses data, so the rule is in one place:
 *
 * 1. No entry of the layerdb, no lease and no decided consumption names an orphan.
 * 2. While an entry is damaged, or names a layer that the driver does not keep, no layer is an orphan: the entry may be
 *    that of any of them.
 * 3. Leases are read before entries, and both under the lock. A removal takes its lease first and its entry away under the
 *    lock, and a removal that fails puts the entry back before its lease ends. So one of the two names the layer.
 */
export class Orphans {
  readonly #driver: Driver
  readonly #db: LayerDb
  readonly #leases: string
  readonly #lockFile: string
  readonly #consumptions: Consumptions

  constructor({ driver, db, leases, lockFile, consumptions }: OrphanPlaces) {
    this.#driver = driver
    this.#db = db
    this.#leases = leases
    this.#lockFile = lockFile
    this.#consumptions = consumptions
  }

  /** All orphans among the layers that can be opened. */
  async list(): Promise<string[]> {
    const find = async (): Promise<string[]> => this.#among(await this.#driver.list())
    // The lock is taken only to confirm what was found without it.
    const found = (await find()).length === 0 ? [] : await this.#locked(find)
    const there = await Promise.all(found.map((id) => this.#exists(id)))
    return found.filter((_, index) => there[index])
  }

  /** As `list`, with layers whose making or removal was cut short. Reads the layerdb only if it names fewer layers. */
  async leftovers(): Promise<string[]> {
    const onDisk = (await this.#driver.idsOnDisk?.()) ?? []
    const entries = (await this.#db.chainIds()).length + (await this.#db.writableNames()).length
    return onDisk.length <= entries ? [] : this.#among(onDisk)
  }

  /** Removes a layer if it still is an orphan. Rejects with `LAYER_NOT_FOUND` if not, with `LAYER_IN_USE` while it is open. */
  async remove(id: string): Promise<void> {
    await using _lease = await this.#locked(async () => {
      const kept = (await this.#driver.idsOnDisk?.()) ?? (await this.#driver.list())
      if ((await this.#among(kept)).includes(id)) return Lease.take(this.#leases, [id])
      throw new StoreError('LAYER_NOT_FOUND', `layer ${id} is no orphan any more`)
    })
    await this.#driver.remove(id)
  }

  /** Which of the layers that a dead process was making or removing nothing else names. The caller holds its lease. */
  async namedOnlyIn(lease: Lease, ids: readonly string[]): Promise<string[]> {
    return this.#locked(async () => {
      const inWork = await this.#inWork(lease)
      const named = await this.#db.driverIds()
      return named === undefined ? [] : ids.filter((id) => !named.has(id) && !inWork.has(id))
    })
  }

  async #among(kept: readonly string[]): Promise<string[]> {
    const inWork = await this.#inWork()
    const named = await this.#db.driverIds()
    if (named === undefined) return []
    const there = new Set(kept)
    for (const id of named) if (!there.has(id) && !inWork.has(id) && !(await this.#exists(id))) return []
    return kept.filter((id) => !named.has(id) && !inWork.has(id))
  }

  async #inWork(except?: Lease): Promise<Set<string>> {
    const ids = await leasedIds(this.#leases, except)
    for (const { mountId, layer } of await this.#consumptions.list()) ids.add(mountId).add(layer.cacheId)
    return ids
  }

  async #exists(id: string): Promise<boolean> {
    return this.#driver.exists(id).catch(() => false)
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    await using _lock = await Lock.acquire(this.#lockFile)
    return await work()
  }
}

/** Words of all names in leases; ids are among them. */
export async function leasedIds(leases: string, except?: Lease): Promise<Set<string>> {
  const names = await Lease.named(leases, except)
  return new Set([...names].flatMap((name) => name.split(' ')))
}
