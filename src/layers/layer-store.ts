import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { chainId, type ChainID, type Digest, type DiffID } from '../digest.js'
import type { Change, Driver, LayerView } from '../drivers/driver.js'
import { Lease } from '../durable/lease.js'
import { Lock } from '../durable/lock.js'
import { StoreError } from '../errors.js'
import type { SyncFs } from '../fs/sync-fs.js'
import type { ByteSource } from '../jobs/work/byte-source.js'
import type { CommitTimes } from '../jobs/work/commit.js'
import { commitHere, flattenHere, unpackHere } from '../jobs/run/here.js'
import type { JobOptions } from '../jobs/work/pace.js'
import type { LayerResult, LayerSinks } from '../jobs/work/layer-intake.js'
import { runJob } from '../jobs/run/run-job.js'
import type { ResolvedLimits } from '../limits.js'
import type { OperationOptions } from '../operation-options.js'
import { Rollback } from '../rollback.js'
import type { ProgressEvent } from '../progress.js'
import { sourceDateNs } from '../source-date.js'
import type { ApplyTarget } from '../tar/apply.js'
import { assemble, tarSizeOf } from '../tar/assemble.js'
import { restoreRoot } from './adopted-root.js'
import { Consumptions, type Consumption } from './consumption.js'
import type { Layer, WritableLayer } from './layer.js'
import { openContents, type LayerContents } from './layer-contents.js'
import { LayerDb, TAR_SPLIT } from './layerdb.js'
import { clearLeftovers } from './leftovers.js'
import { Orphans } from './orphans.js'
import { recover, WRITABLE } from './recovery.js'
import { LayerUpkeep, type Swap } from './layer-upkeep.js'

export interface LayerStoreOptions {
  /** The data root. */
  readonly root: string
  readonly driver: Driver
  readonly readOnly: boolean
}

/** Takes the pin (`LayerStore.pin`) on the layer that is made, from before it is there; the caller disposes of it. */
export type OnPinned = (pin: AsyncDisposable) => void

export interface MakeOptions extends OperationOptions {
  readonly onPinned?: OnPinned | undefined
  /** @internal Publishes the layer instead of the store, under the lock. */
  readonly swap?: Swap | undefined
}

export interface RegisterOptions extends MakeOptions {
  readonly parent?: ChainID | undefined
  /** What the layer is claimed to be: another DiffID is `DIGEST_MISMATCH`, and a layer that is here is not read. */
  readonly expected?: DiffID | undefined
  /** What the source's bytes are claimed to be, packed or not: others are `DIGEST_MISMATCH`. */
  readonly blob?: Digest | undefined
  /** Bounds on what the tar may ask for. @default none */
  readonly limits?: ResolvedLimits | undefined
  /** Bytes of the packed archive that the source stands in. */
  readonly packedBytes?: number | undefined
}

export interface WritableView {
  readonly view: LayerView
  /** Gives the view back. May be called again where it failed. */
  release(): Promise<void>
}

/** The layer that a writable one becomes, before it is there. */
export type Consumed = Omit<Consumption, 'image'>

/** What the owner of a writable layer contributes to its consumption; see {@link Consumptions}. */
export interface ConsumeSteps<T> {
  /** Decides the consumption, or throws. */
  decide(consumed: Consumed): Promise<void>
  /** Finishes it, once the layer is there. */
  complete(consumed: Consumed): Promise<T>
}

/** A layer that no longer exists, whose content is still on disk. */
export interface DetachedLayer {
  delete(): Promise<void>
}

/** Kinds of names in leases; `recovery.ts` tells of each. */
const ADOPT = 'adopt '
const USES = 'uses '

/**
 * Layers, by ChainID: Docker's layerdb and the driver's layers kept in step.
 *
 * 1. The driver's layer is on disk before the layerdb names it, and named no more before it is removed.
 * 2. A driver's layer that no layerdb names is named in a lease, from before it is made.
 * 3. What an operation stands on, its parent, is named in its lease, too, and is not removed meanwhile.
 * 4. The store's lock is held for steps on metadata alone, never while a layer is read or written.
 * 5. A commit with `consume` follows the protocol of `Consumptions`.
 */
export class LayerStore {
  readonly consumptions: Consumptions
  readonly #root: string
  readonly #driver: Driver
  readonly #db: LayerDb
  readonly #leases: string
  readonly #lockFile: string
  readonly #readOnly: boolean
  readonly orphans: Orphans
  /** Finds damage and mends it. */
  readonly upkeep: LayerUpkeep
  /** Layers that this process is making, by the chain they are claimed to be. */
  readonly #underWay = new Map<ChainID, Promise<Layer>>()

  constructor({ root, driver, readOnly }: LayerStoreOptions) {
    this.#root = root
    this.#driver = driver
    this.#db = new LayerDb(join(root, 'image', driver.name, 'layerdb'))
    this.consumptions = new Consumptions(join(root, 'layerstack', 'consuming', driver.name))
    this.#leases = join(root, 'layerstack', 'leases', driver.name)
    this.#lockFile = join(root, 'layerstack', 'lock')
    this.#readOnly = readOnly
    this.orphans = new Orphans({
      driver,
      db: this.#db,
      leases: this.#leases,
      lockFile: this.#lockFile,
      consumptions: this.consumptions,
    })
    this.upkeep = new LayerUpkeep({
      driver,
      db: this.#db,
      leases: this.#leases,
      lockFile: this.#lockFile,
      refuseInUse: (id) => this.#refuseInUse(id),
      unpack: async ({ parent, diffId }, { source, blob }, swap) => {
        await this.#unpack(source, { parent, expected: diffId, blob, swap })
      },
    })
  }

  /**
   * Makes the directories, and clears what processes that died left half done.
   * @param isNamed whether somebody knows the writable layer of this name; one that was made and that nobody came to
   *   know is cleared, too
   */
  async open(isNamed: (writable: string) => Promise<boolean> = async () => true): Promise<void> {
    if (this.#readOnly) return
    await this.#db.make()
    await this.#recover(isNamed)
    await this.#clearLeftovers()
  }

  /** Clears what processes that have ended left half done, as `open` does. */
  async tidy(isNamed: (writable: string) => Promise<boolean>): Promise<void> {
    this.#mayWrite()
    await this.#recover(isNamed)
    await this.#driver.tidy?.()
    await this.#clearLeftovers()
  }

  async #clearLeftovers(): Promise<void> {
    await clearLeftovers({
      root: this.#root,
      db: this.#db,
      orphans: this.orphans,
      leases: this.#leases,
      others: [this.consumptions.directory],
    })
  }

  async #recover(isNamed: (writable: string) => Promise<boolean>): Promise<void> {
    await recover({
      driver: this.#driver,
      db: this.#db,
      orphans: this.orphans,
      leases: this.#leases,
      isNamed,
      isDecided: (name) => this.consumptions.has(name),
      removeWritable: (name) => this.removeWritable(name),
    })
  }

  get(id: ChainID): Promise<Layer | undefined> {
    return this.#db.layer(id)
  }

  async require(id: ChainID): Promise<Layer> {
    const layer = await this.#db.layer(id)
    if (layer === undefined) throw notFound(id)
    return layer
  }

  async list(): Promise<Layer[]> {
    return this.#db.layers()
  }

  /** All layers but those whose entries are damaged. */
  soundLayers(): Promise<Layer[]> {
    return this.#db.soundLayers()
  }

  /** Of all layers, damaged ones too. */
  chainIds(): Promise<ChainID[]> {
    return this.#db.chainIds()
  }

  /** Removes a layer that may be damaged. `LAYER_IN_USE` if one or a container stands on it. */
  async discard(id: ChainID): Promise<void> {
    const { delete: deleteContent } = await this.detach(id)
    await deleteContent()
  }

  /**
   * The first half of `discard`, which is short: the layer does not exist afterwards. Its content is deleted apart, so that
   * the caller can do that outside of locks. If the process ends before that, the next open does it.
   */
  async detach(id: ChainID): Promise<DetachedLayer> {
    this.#mayWrite()
    const cacheId = (await this.#db.layer(id).catch(() => undefined))?.cacheId
    // Read here, so that the lock is not held for it.
    await this.#db.parents()
    const lease = await Lease.take(this.#leases, cacheId === undefined ? [] : [cacheId])
    try {
      const removing = await this.#locked(async () => {
        await this.#refuseInUse(id)
        const now = await this.#db.layer(id).catch(() => undefined)
        if (now?.cacheId !== cacheId || !(await this.#db.has(id))) throw notFound(id)
        return this.#db.unpublish(id)
      })
      return { delete: () => this.#deleteContent(lease, cacheId, removing) }
    } catch (error) {
      await lease.end()
      throw error
    }
  }

  async #deleteContent(lease: Lease, cacheId: string | undefined, removing: string): Promise<void> {
    try {
      if (cacheId !== undefined) await this.#driver.remove(cacheId)
      await rm(removing, { recursive: true, force: true })
    } catch (error) {
      await lease.abandon()
      throw error
    }
    await lease.end()
  }

  /** The layer below each, of all layers but the damaged ones. */
  parents(): Promise<Map<ChainID, ChainID | undefined>> {
    return this.#db.parents()
  }

  /**
   * While this is held nobody removes these layers, in this process or another, be they here already or still to come.
   */
  async pin(ids: readonly ChainID[]): Promise<AsyncDisposable> {
    this.#mayWrite()
    const lease = await Lease.take(this.#leases, ids)
    // Whoever looked before the lease was there has ended its removal after this.
    await this.#locked(async () => undefined)
    return lease
  }

  /** Unpacks a layer's tar, plain or compressed. When it resolves, the layer is durable. */
  async register(source: ByteSource, options: RegisterOptions = {}): Promise<Layer> {
    this.#mayWrite()
    const { parent, expected, onProgress } = options
    if (expected === undefined) return this.#unpack(source, options)
    const chain = chainId(parent, expected)
    const here = (await this.#db.layer(chain)) ?? (await this.#underWay.get(chain)?.catch(() => undefined))
    if (here !== undefined) {
      onProgress?.({ type: 'layer:exists', id: expected })
      return here
    }
    const work = this.#unpack(source, options)
    this.#underWay.set(chain, work)
    try {
      return await work
    } finally {
      if (this.#underWay.get(chain) === work) this.#underWay.delete(chain)
    }
  }

  /** The layer's tar, byte for byte as it came. */
  tarStream(id: ChainID): Readable {
    return Readable.from(this.#tar(id), { objectMode: false })
  }

  /** Bytes of what `tarStream` gives. */
  async tarSize(id: ChainID): Promise<number> {
    await this.require(id)
    return tarSizeOf(this.#db.tarSplit(id))
  }

  /** Refuses, with `LAYER_IN_USE`, a layer that another one or a container stands on, or that is pinned. */
  async remove(id: ChainID): Promise<void> {
    this.#mayWrite()
    await this.require(id)
    await this.discard(id)
  }

  /**
   * @param makeKnown is done before the layer counts as made: where it fails, or its process dies, the layer goes
   *   (see `open`)
   */
  async createWritable(
    name: string,
    parent: ChainID | undefined,
    storageOptions: Readonly<Record<string, string>> | undefined,
    makeKnown: () => Promise<void> = async () => undefined,
  ): Promise<WritableLayer> {
    this.#mayWrite()
    const mountId = randomId()
    const names = [`${WRITABLE}${name}`, mountId, ...(parent === undefined ? [] : [parent])]
    return this.#leased(names, async (rollback) => {
      const below = await this.#foundation(parent)
      rollback.onFailure(() => this.#driver.remove(mountId))
      await this.#driver.createReadWrite(mountId, below?.cacheId, storageOptions && { storageOptions })
      const layer: WritableLayer = { name, mountId, initId: undefined, parent }
      rollback.onFailure(() => this.#db.removeWriteSet(mountId))
      await this.#db.prepareWritable(layer)
      await this.#locked(async () => {
        if ((await this.#db.writable(name)) !== undefined) {
          throw new StoreError('NAME_CONFLICT', `there is a writable layer ${name} already`)
        }
        await this.#db.addWritable(layer)
      })
      rollback.onFailure(() => this.#db.removeWritable(layer))
      await makeKnown()
      return layer
    })
  }

  async writable(name: string): Promise<WritableLayer> {
    const layer = await this.#db.writable(name)
    if (layer === undefined) throw noWritable(name)
    return layer
  }

  /** Whether the writable layer is whole: in the layerdb, and in the driver. */
  async hasWritable(name: string): Promise<boolean> {
    const layer = await this.#db.writable(name).catch(() => undefined)
    return layer !== undefined && this.#driver.exists(layer.mountId)
  }

  /** The error of opening the writable layer; `undefined` while another process has it open. */
  async writableFault(name: string): Promise<Error | undefined> {
    try {
      await (await this.view(name)).release()
      return undefined
    } catch (error) {
      if (error instanceof StoreError && error.code === 'LAYER_IN_USE') return undefined
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  /** `STORE_CORRUPT` if the entry of one is damaged. */
  writables(): Promise<WritableLayer[]> {
    return this.#db.writables()
  }

  /** Names of all writable layers, damaged ones too. */
  writableNames(): Promise<string[]> {
    return this.#db.writableNames()
  }

  /** Whether a living process makes or removes the writable layer, or a commit is decided that consumes it. */
  async isUnderWay(name: string): Promise<boolean> {
    return this.consumptions.has(name) || (await Lease.namedByLiving(this.#leases)).has(`${WRITABLE}${name}`)
  }

  /** Whether the writable layer is away for good: whoever was removing it cannot bring it back any more. */
  async isGone(name: string): Promise<boolean> {
    const isHere = async (): Promise<boolean> => (await this.#db.writableNames()).includes(name)
    // Again at the end: a removal that failed in between brought it back.
    return !(await isHere()) && !(await this.isUnderWay(name)) && !(await isHere())
  }

  /** Removes the entry of a writable layer that is damaged; what the driver keeps of it is an orphan then. */
  async discardWritable(name: string): Promise<void> {
    this.#mayWrite()
    await this.#locked(() => this.#db.discardWritable(name))
  }

  /** A view of the writable layer. `LAYER_IN_USE` while it is being consumed, and after that is decided. */
  async view(name: string): Promise<WritableView> {
    const { mountId } = await this.writable(name)
    const view = await this.#driver.get(mountId)
    const release = (): Promise<void> => this.#driver.put(mountId)
    try {
      // Asked with the view open: a consumer that is not seen here sees the view (`#fence`).
      if (this.consumptions.has(name)) throw isBecomingAnImage(name)
      if (!this.#readOnly) await this.#refuseUsed(name, mountId, [ADOPT])
      return { view, release }
    } catch (error) {
      await release()
      throw error
    }
  }

  async *changes(name: string, options?: OperationOptions): AsyncGenerator<Change, void, void> {
    const layer = await this.writable(name)
    yield* this.#driver.changes(layer.mountId, await this.#driverParent(layer), options)
  }

  /** The writable layer's tar, as a commit would make it. */
  async diff(name: string, options?: OperationOptions): Promise<Readable> {
    const layer = await this.writable(name)
    const clampMtimeNs = sourceDateNs()
    return this.#driver.diff(layer.mountId, await this.#driverParent(layer), { ...options, clampMtimeNs })
  }

  /** Bytes of the regular files that the writable layer brings. */
  async writableSize(name: string, options?: OperationOptions): Promise<number> {
    const layer = await this.writable(name)
    return this.#driver.diffSize(layer.mountId, await this.#driverParent(layer), options)
  }

  /**
   * Harmless if it is gone. `LAYER_IN_USE` while a view of it is open, or another process commits, makes or removes it.
   * @param forget runs once the layer is gone, before the removal counts as finished
   */
  async removeWritable(name: string, forget: () => Promise<void> = async () => undefined): Promise<void> {
    this.#mayWrite()
    const layer = await this.#db.writable(name)
    if (layer === undefined) {
      if (await this.isGone(name)) return forget()
      throw new StoreError('LAYER_IN_USE', `container layer ${name} is being made or removed`)
    }
    const ids = [layer.mountId, ...(layer.initId === undefined ? [] : [layer.initId])]
    const isOurs = await this.#leased([`${WRITABLE}${name}`, ...ids], async (rollback) => {
      const isFirst = await this.#locked(async () => {
        await this.#refuseUsed(name, layer.mountId, [ADOPT, USES])
        if ((await this.#db.writable(name))?.mountId !== layer.mountId) return false
        await this.#db.removeWritable(layer)
        return true
      })
      if (!isFirst) return false
      rollback.onFailure(() => this.#restoreWritable(layer))
      for (const id of ids) await this.#driver.remove(id)
      await forget()
      return true
    })
    // Another removal was first: it may have ended by now.
    if (!isOurs) await this.removeWritable(name, forget)
  }

  /** After a removal that failed. One that the driver has begun cannot be undone: the lease stays, and it is finished. */
  async #restoreWritable(layer: WritableLayer): Promise<void> {
    if (!(await this.#driver.exists(layer.mountId))) throw noWritable(layer.name)
    await this.#db.prepareWritable(layer)
    await this.#db.addWritable(layer)
  }

  /** Makes a layer of what the writable one holds, on the same parent. Each changed byte is read once. */
  async commit(name: string, options: MakeOptions = {}): Promise<Layer> {
    this.#mayWrite()
    return this.#copyCommit(await this.writable(name), options)
  }

  /**
   * Turns the writable layer into a layer. Where the driver can adopt it, nothing is copied. Rejects with `LAYER_IN_USE`,
   * and leaves the writable layer as it was, while another process has it open.
   */
  async consume<T>(name: string, steps: ConsumeSteps<T>, options: MakeOptions = {}): Promise<T> {
    this.#mayWrite()
    const writable = await this.writable(name)
    const adopts = writable.initId === undefined && (await this.#canAdopt(writable))
    return adopts ? this.#adoptConsume(writable, steps, options) : this.#copyConsume(writable, steps, options)
  }

  /** Whether the process that decided the consumption still runs. */
  async isBeingConsumed(consumed: Consumed): Promise<boolean> {
    return (await Lease.namedByLiving(this.#leases)).has(adoptionOf(consumed))
  }

  /** Whether the consumption can be taken back: the container is as it was, or nothing is left to finish. */
  async isRevocable({ container, mountId, layer: { chainId: id, cacheId } }: Consumed): Promise<boolean> {
    const writable = await this.#db.writable(container).catch(() => undefined)
    if (writable?.mountId === mountId && (await this.#driver.exists(mountId))) return true
    const isHere = (await this.#db.layer(id).catch(() => undefined)) !== undefined
    return !isHere && !(await this.#driver.exists(cacheId))
  }

  /** Puts a consumed layer in its place; harmless where that is done. A driver that refuses leaves all as it was. */
  async takeOver({ container, mountId, layer }: Consumed): Promise<void> {
    const { chainId: id, cacheId } = layer
    const here = await this.#db.layer(id)
    const isTwin = here !== undefined && here.cacheId !== cacheId
    if (!isTwin && !(await this.#driver.exists(cacheId))) await this.#driver.adopt?.(mountId, cacheId)
    if (here === undefined) await restoreRoot(this.#driver, cacheId, await this.#cacheIdOf(layer.parent))
    await this.#publishConsumed(layer)
    const writable = await this.#db.writable(container)
    if (writable?.mountId !== mountId) return
    for (const driverId of [mountId, writable.initId])
      if (driverId !== undefined) await this.#driver.remove(driverId)
    await this.#locked(() => this.#db.removeWritable({ name: container, mountId }))
  }

  async #canAdopt({ mountId }: WritableLayer): Promise<boolean> {
    if (this.#driver.adopt === undefined) return false
    return (await this.#driver.adoptable?.(mountId)) ?? true
  }

  /** Merges a stack into one layer without a parent, straight from the layers. */
  async flatten(top: ChainID, options: MakeOptions = {}): Promise<Layer> {
    this.#mayWrite()
    await using _pin = await this.pin([top])
    const stack = await this.#stack(top)
    const clampMtimeNs = sourceDateNs()
    return await this.#make(undefined, options, async (writeSet, cacheId) => {
      const progress = jobOptions(options, (done) => ({ type: 'layer:flatten', id: top, done }))
      const splitFile = join(writeSet, TAR_SPLIT)
      const target = await this.#driver.applyTarget?.(cacheId)
      const layers = []
      for (const { chainId: id, cacheId: below } of stack) {
        const contents = await this.#driver.contents?.(below)
        if (contents !== undefined) layers.push({ splitFile: this.#db.tarSplit(id), contents })
      }
      if (target !== undefined && layers.length === stack.length)
        return runJob({ kind: 'flatten', layers, target, splitFile, clampMtimeNs }, progress)
      return this.#flattenHere(stack, target ?? cacheId, splitFile, progress)
    })
  }

  async #flattenHere(
    stack: readonly Layer[],
    target: ApplyTarget | string,
    splitFile: string,
    progress: JobOptions,
  ): Promise<LayerResult> {
    const opened: LayerContents[] = []
    const clampMtimeNs = sourceDateNs()
    try {
      for (const { cacheId } of stack) opened.push(await openContents(this.#driver, cacheId))
      const layers = stack.map(({ chainId: id }, index) => ({
        splitFile: this.#db.tarSplit(id),
        contents: (opened[index] as LayerContents).syncFs,
      }))
      if (typeof target !== 'string')
        return await flattenHere({ layers, target, splitFile, clampMtimeNs }, progress)
      return await this.#throughView(target, (syncFs) =>
        flattenHere({ layers, target: { syncFs }, splitFile, clampMtimeNs }, progress),
      )
    } finally {
      for (const contents of opened) await contents.close()
    }
  }

  #unpack(source: ByteSource, options: RegisterOptions): Promise<Layer> {
    const { parent, expected, blob: expectedBlob, limits, packedBytes } = options
    const bounds = { expected, expectedBlob, limits, packedBytes }
    return this.#make(parent, options, async (writeSet, cacheId, below) => {
      const progress = jobOptions(options, (done) => ({
        type: 'layer:unpack',
        id: expected ?? cacheId,
        done,
      }))
      const splitFile = join(writeSet, TAR_SPLIT)
      const target = await this.#driver.applyTarget?.(cacheId, below?.cacheId)
      if (target !== undefined)
        return runJob({ kind: 'unpack', source, target, splitFile, ...bounds }, progress)
      return this.#throughView(cacheId, (syncFs) =>
        unpackHere({ source, target: { syncFs }, splitFile, ...bounds }, progress),
      )
    })
  }

  async #copyCommit(layer: WritableLayer, options: MakeOptions): Promise<Layer> {
    const use = `${USES}${layer.mountId}`
    await using _use = await Lease.take(this.#leases, [use])
    await this.#claim(layer, use)
    return this.#copy(layer, options)
  }

  /** Makes a layer of a claimed writable one. */
  async #copy(layer: WritableLayer, options: MakeOptions): Promise<Layer> {
    const parent = await this.#driverParent(layer)
    return this.#make(layer.parent, options, async (writeSet, cacheId, below) => {
      const splitFile = join(writeSet, TAR_SPLIT)
      const progress = jobOptions(options, (done) => ({ type: 'layer:commit', id: layer.name, done }))
      const source = await this.#driver.diffSource?.(layer.mountId, parent)
      const target = await this.#driver.applyTarget?.(cacheId, below?.cacheId)
      if (source !== undefined && target !== undefined) {
        return runJob({ kind: 'commit', source, target, splitFile, clampMtimeNs: sourceDateNs() }, progress)
      }
      return this.#throughView(cacheId, (syncFs) =>
        this.#commitHere(layer.mountId, parent, { target: { syncFs }, splitFile }, progress),
      )
    })
  }

  async #adoptConsume<T>(writable: WritableLayer, steps: ConsumeSteps<T>, options: MakeOptions): Promise<T> {
    const { mountId, name, parent } = writable
    const cacheId = randomId()
    const adoption = adoptionOf({ container: name, mountId, layer: { cacheId } })
    return this.#leased([adoption, ...(parent === undefined ? [] : [parent])], async (rollback) => {
      await this.#fence(writable, adoption)
      const writeSet = await this.#db.writeSet(cacheId)
      rollback.onFailure(() => this.#dropUndecided(name, cacheId))
      const progress = jobOptions(options, (done) => ({ type: 'layer:commit', id: name, done }))
      const below = await this.#driverParent(writable)
      const result = await this.#readForConsume(mountId, below, join(writeSet, TAR_SPLIT), progress)
      const layer = layerOf({ ...result, chainId: chainId(parent, result.diffId), parent, cacheId })
      await this.#db.seal(writeSet, layer)
      return this.#decideAndTakeOver({ container: name, mountId, layer }, steps, options, rollback)
    })
  }

  /** A decision that could not be taken back needs its write set. */
  async #dropUndecided(name: string, cacheId: string): Promise<void> {
    if (this.consumptions.has(name)) throw isBecomingAnImage(name)
    await this.#db.removeWriteSet(cacheId)
  }

  /** For a driver that cannot adopt, or a container of dockerd's, which stands on an init layer. */
  async #copyConsume<T>(writable: WritableLayer, steps: ConsumeSteps<T>, options: MakeOptions): Promise<T> {
    const { mountId, name } = writable
    const adoption = adoptionOf({ container: name, mountId, layer: { cacheId: randomId() } })
    return this.#leased([adoption], async () => {
      await this.#fence(writable, adoption)
      const consumed = { container: name, mountId, layer: await this.#copy(writable, options) }
      return this.#leased([adoptionOf(consumed)], (rollback) =>
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
    const { container, layer } = consumed
    await this.#locked(() => this.#pinMade(layer, options))
    options.signal?.throwIfAborted()
    rollback.onFailure(() => this.consumptions.remove(container))
    await decide(consumed)
    try {
      await this.takeOver(consumed)
    } catch (error) {
      const isRevocable = await this.isRevocable(consumed).catch(() => false)
      if (!isRevocable) rollback.abandon()
      throw error
    }
    // From here on the next open finishes what fails.
    rollback.abandon()
    options.onProgress?.({ type: 'layer:stored', id: layer.diffId, size: layer.size })
    return complete(consumed)
  }

  /** Where another process has published the same layer, ours is not needed. */
  async #publishConsumed(layer: Layer): Promise<void> {
    const { chainId: id, cacheId } = layer
    const isOurs = await this.#locked(async () => {
      const here = await this.#db.layer(id)
      if (here === undefined) await this.#db.publish(cacheId, id)
      return here === undefined || here.cacheId === cacheId
    })
    if (isOurs) return
    this.#db.removeWriteSet(cacheId)
    await this.#driver.remove(cacheId)
  }

  async #readForConsume(
    mountId: string,
    below: string | undefined,
    splitFile: string,
    progress: JobOptions,
  ): Promise<LayerResult> {
    const source = await this.#driver.diffSource?.(mountId, below)
    const clampMtimeNs = sourceDateNs()
    const sinks = { splitFile, adopts: true }
    if (source === undefined) return this.#commitHere(mountId, below, sinks, progress)
    const result = await runJob({ kind: 'commit', source, ...sinks, clampMtimeNs }, progress)
    if (source.form === 'overlay') await runJob({ kind: 'settle', paths: [source.upper.root] })
    return result
  }

  async #commitHere(
    mountId: string,
    below: string | undefined,
    sinks: LayerSinks & CommitTimes,
    progress: JobOptions,
  ): Promise<LayerResult> {
    const clampMtimeNs = sourceDateNs()
    const open = await this.#driver.diffTrees?.(mountId, below)
    if (open === undefined) {
      const chunks = this.#driver.diff(mountId, below, { signal: progress.signal, clampMtimeNs })
      return unpackHere({ source: { chunks }, ...sinks }, progress)
    }
    try {
      return await commitHere({ source: open.trees, ...sinks, clampMtimeNs }, progress)
    } finally {
      await open.close()
    }
  }

  /** Makes a driver's layer and its entry in the layerdb; `work` fills the one and writes the tar-split of the other. */
  #make(
    parent: ChainID | undefined,
    options: MakeOptions,
    work: (writeSet: string, cacheId: string, below: Layer | undefined) => Promise<LayerResult>,
  ): Promise<Layer> {
    const cacheId = randomId()
    return this.#leased([cacheId, ...(parent === undefined ? [] : [parent])], async (rollback) => {
      options.signal?.throwIfAborted()
      const below = await this.#foundation(parent)
      rollback.onFailure(() => this.#driver.remove(cacheId))
      await this.#driver.create(cacheId, below?.cacheId)
      const writeSet = await this.#db.writeSet(cacheId)
      rollback.onFailure(() => rm(writeSet, { recursive: true, force: true }))
      const { diffId, size } = await work(writeSet, cacheId, below)
      const made: Layer = { chainId: chainId(parent, diffId), diffId, parent, size, cacheId }
      await this.#db.seal(writeSet, made)
      const twin = await this.#locked(async () => {
        await this.#pinMade(made, options)
        if (options.swap !== undefined) {
          await options.swap(writeSet, made)
          return undefined
        }
        const there = await this.#db.layer(made.chainId)
        if (there === undefined) await this.#db.publish(cacheId, made.chainId)
        return there
      })
      if (twin !== undefined) {
        await rm(writeSet, { recursive: true, force: true })
        await this.#driver.remove(cacheId)
      }
      options.onProgress?.({ type: 'layer:stored', id: diffId, size })
      return twin ?? made
    })
  }

  /** What a layer is to stand on. Asked under a lease that names it: from then on nobody removes it. */
  async #foundation(parent: ChainID | undefined): Promise<Layer | undefined> {
    if (parent === undefined) return undefined
    return this.#locked(() => this.require(parent))
  }

  /** Pinned under the publishing lock, so the layer is never visible unpinned. */
  async #pinMade({ chainId: id }: Layer, { onPinned }: MakeOptions): Promise<void> {
    if (onPinned === undefined) return
    onPinned(await Lease.take(this.#leases, [id]))
  }

  async *#tar(id: ChainID): AsyncGenerator<Uint8Array, void, void> {
    const { cacheId } = await this.require(id)
    const contents = await openContents(this.#driver, cacheId)
    try {
      yield* assemble(this.#db.tarSplit(id), contents.syncFs)
    } finally {
      await contents.close()
    }
  }

  async #throughView<T>(id: string, work: (syncFs: SyncFs) => Promise<T>): Promise<T> {
    const { fs } = await this.#driver.get(id)
    try {
      return await work(fs.syncFs)
    } finally {
      await this.#driver.put(id)
    }
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

  async #driverParent({ initId, parent }: WritableLayer): Promise<string | undefined> {
    return initId ?? this.#cacheIdOf(parent)
  }

  async #cacheIdOf(id: ChainID | undefined): Promise<string | undefined> {
    return id === undefined ? undefined : (await this.require(id)).cacheId
  }

  /**
   * Asked under a lease that uses the writable layer: from then on nobody removes it. Several may read it, but who
   * consumes it is alone.
   */
  async #claim({ name, mountId }: WritableLayer, own: string): Promise<void> {
    await this.#locked(async () => {
      const kinds = own.startsWith(ADOPT) ? [ADOPT, USES] : [ADOPT]
      await this.#refuseUsed(name, mountId, kinds, own)
      if ((await this.#db.writable(name))?.mountId !== mountId) throw noWritable(name)
    })
  }

  /**
   * Claims a writable layer that is to be consumed: from then on `view` refuses it, and views that were opened before are
   * `LAYER_IN_USE` here. So nothing is written between the reading of the layer and its adoption.
   */
  async #fence(writable: WritableLayer, adoption: string): Promise<void> {
    await this.#claim(writable, adoption)
    await this.#driver.quiesce?.(writable.mountId)
  }

  async #refuseUsed(name: string, mountId: string, kinds: readonly string[], own?: string): Promise<void> {
    for (const text of await Lease.namedByLiving(this.#leases)) {
      if (text === own || !kinds.some((kind) => text.startsWith(`${kind}${mountId}`))) continue
      throw new StoreError('LAYER_IN_USE', `container layer ${name} is being committed`)
    }
  }

  async #refuseInUse(id: ChainID): Promise<void> {
    for (const [child, parent] of await this.#db.parents()) {
      if (parent === id) throw inUse(id, `layer ${child} stands on it`)
    }
    const writable = (await this.#db.writables()).find(({ parent }) => parent === id)
    if (writable !== undefined) throw inUse(id, `container layer ${writable.name} stands on it`)
    if ((await Lease.named(this.#leases)).has(id)) throw inUse(id, 'it is pinned by work under way')
    if (await this.consumptions.nameLayer(id)) throw inUse(id, 'a container is becoming an image of it')
  }

  /**
   * Runs work under a lease and takes back what it noted if it fails; the lease ends after that, or is left to the next open
   * if something could not be taken back.
   */
  async #leased<T>(names: readonly string[], work: (rollback: Rollback) => Promise<T>): Promise<T> {
    const lease = await Lease.take(this.#leases, names)
    let isWhole = true
    try {
      return await Rollback.guard(work, () => (isWhole = false))
    } finally {
      await (isWhole ? lease.end() : lease.abandon())
    }
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    await using _lock = await Lock.acquire(this.#lockFile)
    return await work()
  }

  #mayWrite(): void {
    if (this.#readOnly) throw new StoreError('STORE_READ_ONLY', 'the store is open read-only')
  }
}

function layerOf({ chainId: id, diffId, parent, size, cacheId }: Layer): Layer {
  return { chainId: id, diffId, parent, size, cacheId }
}

/** The name of a consumption in leases; `recovery.ts` reads it. */
function adoptionOf(consumed: {
  readonly container: string
  readonly mountId: string
  readonly layer: Pick<Layer, 'cacheId'>
}): string {
  return `${ADOPT}${consumed.mountId} ${consumed.layer.cacheId} ${consumed.container}`
}

function notFound(id: ChainID): StoreError {
  return new StoreError('LAYER_NOT_FOUND', `there is no layer ${id}`)
}

function noWritable(name: string): StoreError {
  return new StoreError('CONTAINER_NOT_FOUND', `there is no writable layer ${name}`)
}

function isBecomingAnImage(name: string): StoreError {
  return new StoreError('LAYER_IN_USE', `container layer ${name} is becoming an image`)
}

function inUse(id: ChainID, why: string): StoreError {
  return new StoreError('LAYER_IN_USE', `layer ${id} is in use: ${why}`)
}

function randomId(): string {
  return randomBytes(32).toString('hex')
}

function jobOptions(
  { signal, onProgress }: OperationOptions,
  event: (done: number) => ProgressEvent,
): JobOptions {
  return { signal, onProgress: onProgress && ((done) => onProgress(event(done))) }
}
