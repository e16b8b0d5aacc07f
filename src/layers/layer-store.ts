import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { chainId, type ChainID } from '../digest.js'
import type { Driver } from '../drivers/driver.js'
import type { Lease } from '../durable/lease.js'
import { Lock } from '../durable/lock.js'
import { StoreError } from '../errors.js'
import type { ByteSource } from '../jobs/work/byte-source.js'
import { assemble, tarSizeOf } from '../tar/assemble.js'
import { Claims } from './claims.js'
import { Commits } from './commit.js'
import { Consumptions } from './consumption.js'
import { openContents } from './layer-contents.js'
import { mayWrite, type LayerParts } from './layer-parts.js'
import { LayerUpkeep } from './layer-upkeep.js'
import type { Layer } from './layer.js'
import { LayerDb, layerNotFound } from './layerdb.js'
import { clearLeftovers } from './leftovers.js'
import { LayerMaker, type MakeOptions, type RegisterOptions } from './make-layer.js'
import { Orphans } from './orphans.js'
import { recover } from './recovery.js'
import { WritableLayers } from './writable-layers.js'

export interface LayerStoreOptions {
  /** The data root. */
  readonly root: string
  readonly driver: Driver
  readonly readOnly: boolean
}

/** A layer that no longer exists. Its content is still on disk. */
export interface DetachedLayer {
  delete(): Promise<void>
}

/**
 * Layers by ChainID. Keeps Docker's layerdb and the driver's layers in step:
 *
 * 1. A driver layer is on disk before the layerdb names it. Its entry is removed before the layer is.
 * 2. A lease claims a driver layer that no entry names, from before the layer is made.
 * 3. A lease also claims the parent that an operation stands on, so the parent is not removed meanwhile.
 * 4. The lock of the layers is held for steps on metadata, never while a layer is read or written.
 * 5. A commit with `consume` follows the protocol of `Consumptions`.
 */
export class LayerStore {
  readonly writables: WritableLayers
  readonly commits: Commits
  readonly consumptions: Consumptions
  readonly orphans: Orphans
  /** Finds damage and repairs it. */
  readonly upkeep: LayerUpkeep
  readonly #root: string
  readonly #parts: LayerParts
  readonly #maker: LayerMaker
  /** Layers that this process is making, by the chain that they are expected to have. */
  readonly #underWay = new Map<ChainID, Promise<Layer>>()

  constructor({ root, driver, readOnly }: LayerStoreOptions) {
    const lockFile = join(root, 'layerstack', 'lock')
    const parts: LayerParts = {
      driver,
      db: new LayerDb(join(root, 'image', driver.name, 'layerdb')),
      claims: new Claims(join(root, 'layerstack', 'leases', driver.name)),
      consumptions: new Consumptions(join(root, 'layerstack', 'consuming', driver.name)),
      readOnly,
      async locked(work) {
        await using _lock = await Lock.acquire(lockFile)
        return await work()
      },
    }
    this.#root = root
    this.#parts = parts
    this.#maker = new LayerMaker(parts)
    this.writables = new WritableLayers(parts, this.#maker)
    this.commits = new Commits(parts, this.#maker, this.writables)
    this.consumptions = parts.consumptions
    this.orphans = new Orphans(parts)
    this.upkeep = new LayerUpkeep(parts, {
      discard: async (id, cacheId) => (await this.#detach(id, cacheId)).delete(),
      unpack: async ({ parent, diffId }, { source, blob }, swap) => {
        await this.#maker.unpack(source, { parent, expected: diffId, blob, swap })
      },
    })
  }

  /**
   * Makes the directories, and clears what dead processes left unfinished.
   * @param isNamed whether the owner of a writable layer knows its name. A layer that its owner does not know is removed.
   */
  async open(isNamed: (writable: string) => Promise<boolean> = async () => true): Promise<void> {
    if (this.#parts.readOnly) return
    await this.#parts.db.make()
    await this.#recover(isNamed)
    await this.#clearLeftovers()
  }

  /** Clears what dead processes left unfinished, as `open` does. */
  async tidy(isNamed: (writable: string) => Promise<boolean>): Promise<void> {
    mayWrite(this.#parts)
    await this.#recover(isNamed)
    await this.#parts.driver.tidy?.()
    await this.#clearLeftovers()
  }

  #clearLeftovers(): Promise<void> {
    const { db, claims, consumptions } = this.#parts
    const others = [consumptions.directory]
    return clearLeftovers({ root: this.#root, db, claims, orphans: this.orphans, others })
  }

  #recover(isNamed: (writable: string) => Promise<boolean>): Promise<void> {
    const { driver, db, claims, consumptions } = this.#parts
    return recover({
      driver,
      db,
      claims,
      orphans: this.orphans,
      isNamed,
      isDecided: (name) => consumptions.has(name),
      removeWritable: (name) => this.writables.remove(name),
    })
  }

  get(id: ChainID): Promise<Layer | undefined> {
    return this.#parts.db.layer(id)
  }

  require(id: ChainID): Promise<Layer> {
    return this.#parts.db.require(id)
  }

  list(): Promise<Layer[]> {
    return this.#parts.db.layers()
  }

  /** All layers except those with damaged entries. */
  soundLayers(): Promise<Layer[]> {
    return this.#parts.db.soundLayers()
  }

  /** Of all layers, including damaged ones. */
  chainIds(): Promise<ChainID[]> {
    return this.#parts.db.chainIds()
  }

  /** The layer below each layer, except below damaged ones. */
  parents(): Promise<Map<ChainID, ChainID | undefined>> {
    return this.#parts.db.parents()
  }

  /** Removes a layer, which may be damaged. Rejects with `LAYER_IN_USE` if a layer or a container stands on it. */
  async discard(id: ChainID): Promise<void> {
    const { delete: deleteContent } = await this.detach(id)
    await deleteContent()
  }

  /**
   * The first half of `discard`, which is short: afterwards the layer does not exist. The caller deletes its content outside
   * of locks. If the process ends before that, the next open deletes it.
   */
  async detach(id: ChainID): Promise<DetachedLayer> {
    mayWrite(this.#parts)
    return this.#detach(id, (await this.#parts.db.layer(id).catch(() => undefined))?.cacheId)
  }

  /** Rejects with `LAYER_NOT_FOUND` if the layer has another driver id by now. */
  async #detach(id: ChainID, cacheId: string | undefined): Promise<DetachedLayer> {
    const { db, claims, locked } = this.#parts
    // Fills the cache of parents, so that the lock is not held for it.
    await db.parents()
    const lease = await claims.take(
      ...(cacheId === undefined ? [] : [{ kind: 'layer', id: cacheId } as const]),
    )
    try {
      const removing = await locked(async () => {
        await this.#refuseInUse(id)
        const now = await db.layer(id).catch(() => undefined)
        if (now?.cacheId !== cacheId || !(await db.has(id))) throw layerNotFound(id)
        return db.unpublish(id)
      })
      return { delete: () => this.#deleteContent(lease, cacheId, removing) }
    } catch (error) {
      await lease.end()
      throw error
    }
  }

  async #deleteContent(lease: Lease, cacheId: string | undefined, removing: string): Promise<void> {
    try {
      if (cacheId !== undefined) await this.#parts.driver.remove(cacheId)
      await rm(removing, { recursive: true, force: true })
    } catch (error) {
      await lease.abandon()
      throw error
    }
    await lease.end()
  }

  /** Protects layers from removal by any process until the pin is disposed of. The layers may exist or be still to come. */
  async pin(ids: readonly ChainID[]): Promise<AsyncDisposable> {
    mayWrite(this.#parts)
    const lease = await this.#parts.claims.take(...ids.map((id) => ({ kind: 'chain', id }) as const))
    // A removal that looked before the lease existed has ended when the lock is free.
    await this.#parts.locked(async () => undefined)
    return lease
  }

  /** Unpacks a layer's tar, plain or compressed. When it resolves, the layer is durable. */
  async register(source: ByteSource, options: RegisterOptions = {}): Promise<Layer> {
    mayWrite(this.#parts)
    const { parent, expected, onProgress } = options
    if (expected === undefined) return this.#maker.unpack(source, options)
    const chain = chainId(parent, expected)
    const here = (await this.get(chain)) ?? (await this.#underWay.get(chain)?.catch(() => undefined))
    if (here !== undefined) {
      onProgress?.({ type: 'layer:exists', id: expected })
      return here
    }
    const work = this.#maker.unpack(source, options)
    this.#underWay.set(chain, work)
    try {
      return await work
    } finally {
      if (this.#underWay.get(chain) === work) this.#underWay.delete(chain)
    }
  }

  /** Merges a stack into one layer without a parent, straight from the layers. */
  async flatten(top: ChainID, options: MakeOptions = {}): Promise<Layer> {
    mayWrite(this.#parts)
    await using _pin = await this.pin([top])
    return await this.#maker.flatten(await this.#stack(top), options)
  }

  async #stack(top: ChainID): Promise<Layer[]> {
    const stack: Layer[] = []
    for (let id: ChainID | undefined = top; id !== undefined;) {
      const layer: Layer = await this.require(id)
      stack.unshift(layer)
      id = layer.parent
    }
    return stack
  }

  /** The layer's tar, byte for byte as it came. */
  tarStream(id: ChainID): Readable {
    return Readable.from(this.#tar(id), { objectMode: false })
  }

  async *#tar(id: ChainID): AsyncGenerator<Uint8Array, void, void> {
    const { cacheId } = await this.require(id)
    const contents = await openContents(this.#parts.driver, cacheId)
    try {
      yield* assemble(this.#parts.db.tarSplit(id), contents.syncFs)
    } finally {
      await contents.close()
    }
  }

  /** Size in bytes of what `tarStream` gives. */
  async tarSize(id: ChainID): Promise<number> {
    await this.require(id)
    return tarSizeOf(this.#parts.db.tarSplit(id))
  }

  /** Rejects with `LAYER_IN_USE` if another layer or a container stands on the layer, or if it is pinned. */
  async remove(id: ChainID): Promise<void> {
    mayWrite(this.#parts)
    await this.require(id)
    await this.discard(id)
  }

  async #refuseInUse(id: ChainID): Promise<void> {
    const { claims, consumptions } = this.#parts
    for (const [child, parent] of await this.parents()) {
      if (parent === id) throw inUse(id, `layer ${child} is based on it`)
    }
    const writable = (await this.writables.list()).find(({ parent }) => parent === id)
    if (writable !== undefined) throw inUse(id, `container layer ${writable.name} is based on it`)
    const isPinned = (await claims.all()).some((claim) => claim.kind === 'chain' && claim.id === id)
    if (isPinned) throw inUse(id, 'an operation in progress has pinned it')
    if (await consumptions.nameLayer(id)) throw inUse(id, 'a commit is turning a container into it')
  }
}

function inUse(id: ChainID, why: string): StoreError {
  return new StoreError('LAYER_IN_USE', `layer ${id} is in use: ${why}`)
}
