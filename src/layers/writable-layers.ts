import type { Readable } from 'node:stream'
import type { ChainID } from '../digest.js'
import type { Change, LayerView } from '../drivers/driver.js'
import { StoreError } from '../errors.js'
import type { OperationOptions } from '../operation-options.js'
import { sourceDateNs } from '../source-date.js'
import type { Claim } from './claims.js'
import { mayWrite, type LayerParts } from './layer-parts.js'
import type { WritableLayer } from './layer.js'
import { writableNotFound } from './layerdb.js'
import { claimOf, randomId, type LayerMaker } from './make-layer.js'

export interface WritableView {
  readonly view: LayerView
  /** Gives the view back. Call it again if it fails. */
  release(): Promise<void>
}

/** The writable layers of containers, by name: the container's id. */
export class WritableLayers {
  readonly #parts: LayerParts
  readonly #maker: LayerMaker

  constructor(parts: LayerParts, maker: LayerMaker) {
    this.#parts = parts
    this.#maker = maker
  }

  /**
   * @param makeKnown runs before the layer counts as made. If it fails or its process dies, the layer is removed (see
   *   `LayerStore.open`).
   */
  async create(
    name: string,
    parent: ChainID | undefined,
    storageOptions: Readonly<Record<string, string>> | undefined,
    makeKnown: () => Promise<void> = async () => undefined,
  ): Promise<WritableLayer> {
    mayWrite(this.#parts)
    const { driver, db, claims, locked } = this.#parts
    const mountId = randomId()
    const claimed: Claim[] = [{ kind: 'writable', name }, { kind: 'layer', id: mountId }, ...claimOf(parent)]
    return claims.under(claimed, async (rollback) => {
      const below = await this.#maker.foundation(parent)
      rollback.onFailure(() => driver.remove(mountId))
      await driver.createReadWrite(mountId, below?.cacheId, storageOptions && { storageOptions })
      const layer: WritableLayer = { name, mountId, initId: undefined, parent }
      rollback.onFailure(() => db.removeWriteSet(mountId))
      await db.prepareWritable(layer)
      await locked(async () => {
        if ((await db.writable(name)) !== undefined) {
          throw new StoreError('NAME_CONFLICT', `writable layer ${name} already exists`)
        }
        await db.addWritable(layer)
      })
      rollback.onFailure(() => db.removeWritable(layer))
      await makeKnown()
      return layer
    })
  }

  require(name: string): Promise<WritableLayer> {
    return this.#parts.db.requireWritable(name)
  }

  /** Whether the layer is whole: in the layerdb, and in the driver. */
  async has(name: string): Promise<boolean> {
    const layer = await this.#parts.db.writable(name).catch(() => undefined)
    return layer !== undefined && this.#parts.driver.exists(layer.mountId)
  }

  /** The error of opening the layer; `undefined` while another process has it open. */
  async fault(name: string): Promise<Error | undefined> {
    try {
      await (await this.view(name)).release()
      return undefined
    } catch (error) {
      if (error instanceof StoreError && error.code === 'LAYER_IN_USE') return undefined
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  /** Rejects with `STORE_CORRUPT` if an entry is damaged. */
  list(): Promise<WritableLayer[]> {
    return this.#parts.db.writables()
  }

  /** Includes damaged layers. */
  names(): Promise<string[]> {
    return this.#parts.db.writableNames()
  }

  /** Whether a running process makes or removes the layer, or a commit that consumes it is decided. */
  async isUnderWay(name: string): Promise<boolean> {
    if (this.#parts.consumptions.has(name)) return true
    return (await this.#parts.claims.living()).some(
      (claim) => claim.kind === 'writable' && claim.name === name,
    )
  }

  /** Whether the layer is removed for good: no removal that failed can bring it back. */
  async isGone(name: string): Promise<boolean> {
    const exists = async (): Promise<boolean> => (await this.names()).includes(name)
    // Asked again at the end: a removal that failed in between brought it back.
    return !(await exists()) && !(await this.isUnderWay(name)) && !(await exists())
  }

  /** Removes the entry of a damaged layer. The driver's layer becomes an orphan. */
  async discard(name: string): Promise<void> {
    mayWrite(this.#parts)
    await this.#parts.locked(() => this.#parts.db.discardWritable(name))
  }

  /** Opens a view. Rejects with `LAYER_IN_USE` while a commit consumes the layer. */
  async view(name: string): Promise<WritableView> {
    const { driver, consumptions, readOnly } = this.#parts
    const { mountId } = await this.require(name)
    const view = await driver.get(mountId)
    const release = (): Promise<void> => driver.put(mountId)
    try {
      // Asked with the view open: a consumer that this look misses finds the view (`Commits`).
      if (consumptions.has(name)) throw isBecomingAnImage(name)
      if (!readOnly) await this.refuseUsed(name, mountId, ['adopt'])
      return { view, release }
    } catch (error) {
      await release()
      throw error
    }
  }

  async *changes(name: string, options?: OperationOptions): AsyncGenerator<Change, void, void> {
    const layer = await this.require(name)
    yield* this.#parts.driver.changes(layer.mountId, await this.#parts.db.idBelow(layer), options)
  }

  /** The layer's tar, as a commit would make it. */
  async diff(name: string, options?: OperationOptions): Promise<Readable> {
    const layer = await this.require(name)
    const below = await this.#parts.db.idBelow(layer)
    return this.#parts.driver.diff(layer.mountId, below, { ...options, clampMtimeNs: sourceDateNs() })
  }

  /** Bytes of the regular files that the layer adds or changes. */
  async size(name: string, options?: OperationOptions): Promise<number> {
    const layer = await this.require(name)
    return this.#parts.driver.diffSize(layer.mountId, await this.#parts.db.idBelow(layer), options)
  }

  /**
   * A no-op for a layer that is removed. Rejects with `LAYER_IN_USE` while a view is open, or while another process commits,
   * makes or removes the layer.
   * @param forget runs after the layer is removed and before the removal counts as finished
   */
  async remove(name: string, forget: () => Promise<void> = async () => undefined): Promise<void> {
    mayWrite(this.#parts)
    const { driver, db, claims, locked } = this.#parts
    const layer = await db.writable(name)
    if (layer === undefined) {
      if (await this.isGone(name)) return forget()
      throw new StoreError('LAYER_IN_USE', `container layer ${name} is being created or removed`)
    }
    const ids = [layer.mountId, ...(layer.initId === undefined ? [] : [layer.initId])]
    const claimed: Claim[] = [{ kind: 'writable', name }, ...ids.map((id): Claim => ({ kind: 'layer', id }))]
    const isOurs = await claims.under(claimed, async (rollback) => {
      const isFirst = await locked(async () => {
        await this.refuseUsed(name, layer.mountId, ['adopt', 'use'])
        if ((await db.writable(name))?.mountId !== layer.mountId) return false
        await db.removeWritable(layer)
        return true
      })
      if (!isFirst) return false
      rollback.onFailure(() => this.#restore(layer))
      for (const id of ids) await driver.remove(id)
      await forget()
      return true
    })
    // Another removal was first. It may have ended by now.
    if (!isOurs) await this.remove(name, forget)
  }

  /** Puts the entry back. A removal that the driver has begun cannot be undone: its lease stays, and recovery finishes it. */
  async #restore(layer: WritableLayer): Promise<void> {
    const { driver, db } = this.#parts
    if (!(await driver.exists(layer.mountId))) throw writableNotFound(layer.name)
    await db.prepareWritable(layer)
    await db.addWritable(layer)
  }

  /** Rejects with `LAYER_IN_USE` if another operation of one of these kinds claims the layer. */
  async refuseUsed(
    name: string,
    mountId: string,
    kinds: readonly ('adopt' | 'use')[],
    own?: Claim,
  ): Promise<void> {
    for (const claim of await this.#parts.claims.living()) {
      if (claim.kind !== 'adopt' && claim.kind !== 'use') continue
      if (claim.mountId !== mountId || !kinds.includes(claim.kind) || isSame(claim, own)) continue
      throw new StoreError('LAYER_IN_USE', `container layer ${name} is being committed`)
    }
  }
}

/** An adoption is one operation's own, by its new id. Several operations may use a layer, and do not refuse one another. */
function isSame(claim: Claim, own: Claim | undefined): boolean {
  return claim.kind === 'adopt' ? own?.kind === 'adopt' && own.cacheId === claim.cacheId : own?.kind === 'use'
}

export function isBecomingAnImage(name: string): StoreError {
  return new StoreError('LAYER_IN_USE', `container layer ${name} is being turned into an image`)
}
