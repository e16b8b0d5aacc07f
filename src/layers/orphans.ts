import type { Lease } from '../durable/lease.js'
import { StoreError } from '../errors.js'
import { driverIdsOf } from './claims.js'
import type { LayerParts } from './layer-parts.js'

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
  readonly #parts: LayerParts

  constructor(parts: LayerParts) {
    this.#parts = parts
  }

  /** All orphans among the layers that can be opened. */
  async list(): Promise<string[]> {
    const find = async (): Promise<string[]> => this.#among(await this.#parts.driver.list())
    // The lock is taken only to confirm what was found without it.
    const found = (await find()).length === 0 ? [] : await this.#parts.locked(find)
    const there = await Promise.all(found.map((id) => this.#exists(id)))
    return found.filter((_, index) => there[index])
  }

  /** As `list`, with layers whose making or removal was cut short. Reads the layerdb only if it names fewer layers. */
  async leftovers(): Promise<string[]> {
    const onDisk = (await this.#parts.driver.idsOnDisk?.()) ?? []
    const entries = (await this.#parts.db.chainIds()).length + (await this.#parts.db.writableNames()).length
    return onDisk.length <= entries ? [] : this.#among(onDisk)
  }

  /** Removes a layer if it still is an orphan. Rejects with `LAYER_NOT_FOUND` if not, with `LAYER_IN_USE` while it is open. */
  async remove(id: string): Promise<void> {
    await using _lease = await this.#parts.locked(async () => {
      const kept = (await this.#parts.driver.idsOnDisk?.()) ?? (await this.#parts.driver.list())
      if ((await this.#among(kept)).includes(id)) return this.#parts.claims.take({ kind: 'layer', id })
      throw new StoreError('LAYER_NOT_FOUND', `layer ${id} is no longer an orphan`)
    })
    await this.#parts.driver.remove(id)
  }

  /** Which of the layers that a dead process was making or removing nothing else names. The caller holds its lease. */
  async namedOnlyIn(lease: Lease, ids: readonly string[]): Promise<string[]> {
    return this.#parts.locked(async () => {
      const inWork = await this.#inWork(lease)
      const named = await this.#parts.db.driverIds()
      return named === undefined ? [] : ids.filter((id) => !named.has(id) && !inWork.has(id))
    })
  }

  async #among(kept: readonly string[]): Promise<string[]> {
    const inWork = await this.#inWork()
    const named = await this.#parts.db.driverIds()
    if (named === undefined) return []
    const there = new Set(kept)
    for (const id of named) if (!there.has(id) && !inWork.has(id) && !(await this.#exists(id))) return []
    return kept.filter((id) => !named.has(id) && !inWork.has(id))
  }

  async #inWork(except?: Lease): Promise<Set<string>> {
    const ids = driverIdsOf(await this.#parts.claims.all(except))
    for (const { mountId, layer } of await this.#parts.consumptions.list())
      ids.add(mountId).add(layer.cacheId)
    return ids
  }

  async #exists(id: string): Promise<boolean> {
    return this.#parts.driver.exists(id).catch(() => false)
  }
}
