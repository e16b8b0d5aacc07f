import { join } from 'node:path'
import { chainId } from '../digest.js'
import type { Rollback } from '../rollback.js'
import { restoreRoot } from './adopted-root.js'
import type { Adoption } from './claims.js'
import type { Consumption } from './consumption.js'
import { mayWrite, type LayerParts } from './layer-parts.js'
import type { Layer, WritableLayer } from './layer.js'
import { writableNotFound, TAR_SPLIT } from './layerdb.js'
import { claimOf, randomId, type LayerMaker, type MakeOptions } from './make-layer.js'
import { isBecomingAnImage, type WritableLayers } from './writable-layers.js'

/** The layer that a writable layer becomes, before it exists. */
export type Consumed = Omit<Consumption, 'image'>

/** What the owner of a writable layer contributes to its consumption; see `Consumptions`. */
export interface ConsumeSteps<T> {
  /** Decides the consumption, or throws. */
  decide(consumed: Consumed): Promise<void>
  /** Finishes it after the layer is made. */
  complete(consumed: Consumed): Promise<T>
}

/** Makes layers of writable layers. `consume` follows the protocol of `Consumptions`. */
export class Commits {
  readonly #parts: LayerParts
  readonly #maker: LayerMaker
  readonly #writables: WritableLayers

  constructor(parts: LayerParts, maker: LayerMaker, writables: WritableLayers) {
    this.#parts = parts
    this.#maker = maker
    this.#writables = writables
  }

  /** Makes a layer of what the writable layer holds, on the same parent. Reads each changed byte once. */
  async commit(name: string, options: MakeOptions = {}): Promise<Layer> {
    mayWrite(this.#parts)
    const layer = await this.#writables.require(name)
    const use = { kind: 'use', mountId: layer.mountId } as const
    await using _use = await this.#parts.claims.take(use)
    await this.#claim(layer, use)
    return await this.#maker.copy(layer, options)
  }

  /**
   * Turns the writable layer into a layer. If the driver can adopt it, nothing is copied. Rejects with `LAYER_IN_USE`, and
   * leaves the writable layer as it was, while another process has it open.
   */
  async consume<T>(name: string, steps: ConsumeSteps<T>, options: MakeOptions = {}): Promise<T> {
    mayWrite(this.#parts)
    const writable = await this.#writables.require(name)
    const adopts = writable.initId === undefined && (await this.#canAdopt(writable))
    return adopts ? this.#adoptConsume(writable, steps, options) : this.#copyConsume(writable, steps, options)
  }

  /** Whether the process that decided the consumption still runs. */
  async isBeingConsumed({ container, mountId, layer: { cacheId } }: Consumed): Promise<boolean> {
    return (await this.#parts.claims.living()).some(
      (claim) =>
        claim.kind === 'adopt' &&
        claim.name === container &&
        claim.mountId === mountId &&
        claim.cacheId === cacheId,
    )
  }

  /** Whether the consumption can be undone: the container is as it was, or nothing is left to finish. */
  async isRevocable({ container, mountId, layer: { chainId: id, cacheId } }: Consumed): Promise<boolean> {
    const { driver, db } = this.#parts
    const writable = await db.writable(container).catch(() => undefined)
    if (writable?.mountId === mountId && (await driver.exists(mountId))) return true
    const isHere = (await db.layer(id).catch(() => undefined)) !== undefined
    return !isHere && !(await driver.exists(cacheId))
  }

  /** Puts a consumed layer in its place. Can be repeated. If the driver refuses, everything is as before. */
  async takeOver({ container, mountId, layer }: Consumed): Promise<void> {
    const { driver, db, locked } = this.#parts
    const { chainId: id, cacheId } = layer
    const here = await db.layer(id)
    const isTwin = here !== undefined && here.cacheId !== cacheId
    if (!isTwin && !(await driver.exists(cacheId))) await driver.adopt?.(mountId, cacheId)
    if (here === undefined) await restoreRoot(driver, cacheId, await db.cacheIdOf(layer.parent))
    await this.#publish(layer)
    const writable = await db.writable(container)
    if (writable?.mountId !== mountId) return
    for (const driverId of [mountId, writable.initId])
      if (driverId !== undefined) await driver.remove(driverId)
    await locked(() => db.removeWritable({ name: container, mountId }))
  }

  async #canAdopt({ mountId }: WritableLayer): Promise<boolean> {
    const { driver } = this.#parts
    if (driver.adopt === undefined) return false
    return (await driver.adoptable?.(mountId)) ?? true
  }

  async #adoptConsume<T>(writable: WritableLayer, steps: ConsumeSteps<T>, options: MakeOptions): Promise<T> {
    const { db, claims } = this.#parts
    const { mountId, name, parent } = writable
    const cacheId = randomId()
    const adoption = adoptionOf({ container: name, mountId, layer: { cacheId } })
    return claims.under([adoption, ...claimOf(parent)], async (rollback) => {
      await this.#fence(writable, adoption)
      const writeSet = await db.writeSet(cacheId)
      rollback.onFailure(() => this.#dropUndecided(name, cacheId))
      const { diffId, size } = await this.#maker.readForAdoption(writable, join(writeSet, TAR_SPLIT), options)
      const layer: Layer = { chainId: chainId(parent, diffId), diffId, parent, size, cacheId }
      await db.seal(writeSet, layer)
      return this.#decideAndTakeOver({ container: name, mountId, layer }, steps, options, rollback)
    })
  }

  /** A decision that could not be undone needs its write set. */
  async #dropUndecided(name: string, cacheId: string): Promise<void> {
    if (this.#parts.consumptions.has(name)) throw isBecomingAnImage(name)
    this.#parts.db.removeWriteSet(cacheId)
  }

  /** For a driver that cannot adopt, and for containers of dockerd, which have an init layer. */
  async #copyConsume<T>(writable: WritableLayer, steps: ConsumeSteps<T>, options: MakeOptions): Promise<T> {
    const { claims } = this.#parts
    const { mountId, name } = writable
    const adoption = adoptionOf({ container: name, mountId, layer: { cacheId: randomId() } })
    return claims.under([adoption], async () => {
      await this.#fence(writable, adoption)
      const consumed = { container: name, mountId, layer: await this.#maker.copy(writable, options) }
      return claims.under([adoptionOf(consumed)], (rollback) =>
        this.#decideAndTakeOver(consumed, steps, options, rollback),
      )
    })
  }

  async #decideAndTakeOver<T>(
    consumed: Consumed,
    { decide, complete }: ConsumeSteps<T>,
    options: MakeOptions,
    rollback: Rollback,
  ): Promise<T> {
    const { consumptions, locked } = this.#parts
    const { container, layer } = consumed
    await locked(() => this.#maker.pinMade(layer, options))
    options.signal?.throwIfAborted()
    rollback.onFailure(() => consumptions.remove(container))
    await decide(consumed)
    try {
      await this.takeOver(consumed)
    } catch (error) {
      const isRevocable = await this.isRevocable(consumed).catch(() => false)
      if (!isRevocable) rollback.abandon()
      throw error
    }
    // From here on, the next open finishes what fails.
    rollback.abandon()
    options.onProgress?.({ type: 'layer:stored', id: layer.diffId, size: layer.size })
    return complete(consumed)
  }

  /** If another process has published the same layer, ours is removed. */
  async #publish(layer: Layer): Promise<void> {
    const { driver, db, locked } = this.#parts
    const { chainId: id, cacheId } = layer
    const isOurs = await locked(async () => {
      const here = await db.layer(id)
      if (here === undefined) await db.publish(cacheId, id)
      return here === undefined || here.cacheId === cacheId
    })
    if (isOurs) return
    db.removeWriteSet(cacheId)
    await driver.remove(cacheId)
  }

  /** Call it under the claim, which keeps the writable layer from then on. Several commits may read it; a consumer is alone. */
  async #claim(
    { name, mountId }: WritableLayer,
    own: Adoption | { kind: 'use'; mountId: string },
  ): Promise<void> {
    const { db, locked } = this.#parts
    await locked(async () => {
      const kinds = own.kind === 'adopt' ? (['adopt', 'use'] as const) : (['adopt'] as const)
      await this.#writables.refuseUsed(name, mountId, kinds, own)
      if ((await db.writable(name))?.mountId !== mountId) throw writableNotFound(name)
    })
  }

  /**
   * Claims a writable layer for its consumption. Afterwards `view` refuses it, and views that were opened before make this
   * call reject with `LAYER_IN_USE`. So nothing is written between reading the layer and adopting it.
   */
  async #fence(writable: WritableLayer, adoption: Adoption): Promise<void> {
    await this.#claim(writable, adoption)
    await this.#parts.driver.quiesce?.(writable.mountId)
  }
}

function adoptionOf({
  container,
  mountId,
  layer: { cacheId },
}: {
  readonly container: string
  readonly mountId: string
  readonly layer: Pick<Layer, 'cacheId'>
}): Adoption {
  return { kind: 'adopt', mountId, cacheId, name: container }
}
