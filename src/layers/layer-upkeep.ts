import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChainID, Digest, DiffID } from '../digest.js'
import type { Damage } from '../drivers/driver.js'
import { StoreError } from '../errors.js'
import type { ByteSource } from '../jobs/work/byte-source.js'
import type { LayerFindings } from '../jobs/work/verify.js'
import type { OperationOptions } from '../operation-options.js'
import { driverIdsOf } from './claims.js'
import type { LayerParts } from './layer-parts.js'
import type { Layer } from './layer.js'
import { TAR_SPLIT } from './layerdb.js'
import { verifyLayer } from './verify-layer.js'

export interface UpkeepSteps {
  /**
   * Removes a layer that still has this driver id. Rejects with `LAYER_IN_USE` if a layer or a container stands on it, or
   * running work needs it.
   */
  readonly discard: (id: ChainID, cacheId: string | undefined) => Promise<void>
  /** Unpacks a tar into a new driver layer over `parent`, with its tar-split in a write set. */
  readonly unpack: (place: LayerPlace, source: LayerSource, swap: Swap) => Promise<void>
}

/** The DiffID and parent that a ChainID stands for. */
export interface LayerPlace {
  readonly chainId: ChainID
  readonly diffId: DiffID
  readonly parent: ChainID | undefined
}

/** A source of a layer's tar. */
export interface LayerSource {
  readonly source: ByteSource
  /** The digest of the source's bytes, if the archive claims one. */
  readonly blob: Digest | undefined
}

/** Puts an unpacked layer in its place. Runs under the lock. */
export type Swap = (writeSet: string, made: Layer) => Promise<void>

/** The result of examining a layer. `cacheId` is `undefined` if the layerdb's entry is damaged. */
export interface Examination {
  readonly id: ChainID
  readonly cacheId: string | undefined
  readonly faults: readonly string[]
}

export interface ExamineOptions extends OperationOptions {
  /** Whether to read the layer. @default true */
  readonly content?: boolean | undefined
}

/** Retries, and the pause between them in ms, for a layer that another process is changing. */
const TRIES = 20
const PAUSE = 100

/**
 * Finds damaged layers and repairs them while other processes use the store.
 *
 * 1. Concurrent changes are not damage: a fault counts only if the same entry exists afterwards.
 * 2. A repair looks again under the lock, and does nothing if the earlier findings have changed.
 * 3. A damaged layer stays until its replacement is complete, except in `discard`.
 */
export class LayerUpkeep {
  readonly #parts: LayerParts
  readonly #steps: UpkeepSteps

  constructor(parts: LayerParts, steps: UpkeepSteps) {
    this.#parts = parts
    this.#steps = steps
  }

  /** `undefined` if the layer is removed. */
  async examine(id: ChainID, options: ExamineOptions = {}): Promise<Examination | undefined> {
    for (let tries = 1; ; tries++) {
      const before = await this.#entry(id)
      if (before === undefined) return undefined
      const faults = before instanceof Error ? [before.message] : await this.#faults(before, options)
      const cacheId = before instanceof Error ? undefined : before.cacheId
      if (faults.length === 0) return { id, cacheId, faults }
      const isStable = await this.#isStable(id, cacheId)
      if (isStable || tries === TRIES) return (await this.#entry(id)) && { id, cacheId, faults }
      options.signal?.throwIfAborted()
      await sleep(PAUSE)
    }
  }

  /**
   * Repairs a layer with intact content: rewrites its layerdb entry and the driver's bookkeeping. Rejects with
   * `STORE_CORRUPT` if no driver layer gives the tree and the bytes of the layer.
   */
  async mend(examined: Examination, place: LayerPlace, { signal }: OperationOptions): Promise<void> {
    const below = place.parent === undefined ? undefined : await this.#parts.db.layer(place.parent)
    for (const cacheId of await this.#candidates(place.chainId)) {
      if (cacheId === examined.cacheId) await this.#parts.driver.mend?.(cacheId, below?.cacheId)
      const findings = await this.#tryVerify(place, cacheId, signal)
      if (findings?.size === undefined || findings.faults.length > 0) continue
      const layer = { ...place, cacheId, size: findings.size }
      return this.#parts.locked(async () => {
        await this.#requireUnchanged(examined)
        await this.#parts.db.rewrite(layer)
      })
    }
    throw new StoreError('STORE_CORRUPT', `no layer of the driver matches ${place.chainId}`)
  }

  /**
   * Repairs a container's writable layer: rewrites its layerdb entry and the driver's bookkeeping. Rejects with
   * `STORE_CORRUPT` if several driver layers may be the container's.
   */
  async mendWritable(name: string, parent: ChainID | undefined): Promise<void> {
    const below = parent === undefined ? undefined : await this.#parts.db.layer(parent)
    const known = await this.#parts.db.writable(name).catch(() => undefined)
    const initId = known?.initId
    const mountId = await this.#writableCandidate(name)
    await this.#parts.driver.mend?.(mountId, initId ?? below?.cacheId)
    if (known?.mountId === mountId) return
    await using _lease = await this.#parts.claims.take({ kind: 'layer', id: mountId })
    await this.#parts.locked(async () => {
      const now = await this.#parts.db.writable(name).catch(() => undefined)
      if (now?.mountId !== known?.mountId) throw changed(name)
      await this.#parts.db.prepareWritable({ name, mountId, initId, parent })
      await this.#parts.db.discardWritable(name)
      await this.#parts.db.addWritable({ name, mountId, initId, parent })
    })
  }

  /**
   * Unpacks a layer again and replaces the examined one. Layers and containers on it stay. Rejects with `LAYER_NOT_FOUND`
   * if another process changed the layer meanwhile.
   */
  async rebuild(examined: Examination, place: LayerPlace, source: LayerSource): Promise<void> {
    const { replace } = this.#parts.driver
    const old = examined.cacheId ?? this.#parts.db.writtenCacheId(place.chainId)
    const inPlace = old !== undefined && replace !== undefined
    if (!inPlace && replace !== undefined) await this.#refuseDependents(place.chainId)
    const below = place.parent === undefined ? undefined : await this.#parts.db.layer(place.parent)
    let rest = old
    await this.#steps.unpack(place, source, async (writeSet, made) => {
      await this.#requireUnchanged(examined)
      if (inPlace) {
        await replace.call(this.#parts.driver, old, made.cacheId)
        await this.#parts.driver.mend?.(old, below?.cacheId)
        rest = made.cacheId
      }
      await this.#parts.db.rewrite(inPlace ? { ...made, cacheId: old } : made, join(writeSet, TAR_SPLIT))
      await this.#parts.db.removeWriteSet(made.cacheId)
    })
    // If a view holds it, it becomes an orphan, which a later repair removes.
    if (rest !== undefined) await this.#parts.driver.remove(rest).catch(() => undefined)
  }

  /** Removes an examined layer. Rejects with `LAYER_IN_USE` if a layer or a container stands on it. */
  discard({ id, cacheId }: Examination): Promise<void> {
    return this.#steps.discard(id, cacheId)
  }

  /** Damage that the driver finds in its own files. */
  async driverDamage(options: OperationOptions): Promise<Damage[]> {
    return (await this.#parts.driver.check?.(options)) ?? []
  }

  async #faults(layer: Layer, { content = true, signal }: ExamineOptions): Promise<readonly string[]> {
    try {
      await this.#parts.driver.metadata(layer.cacheId)
      return content ? (await this.#verify(layer, layer.cacheId, layer.size, signal)).faults : []
    } catch (error) {
      signal?.throwIfAborted()
      return [error instanceof Error ? error.message : String(error)]
    }
  }

  async #verify(
    { chainId, diffId, parent }: LayerPlace,
    cacheId: string,
    size: number | undefined,
    signal: AbortSignal | undefined,
  ): Promise<LayerFindings> {
    const below = parent === undefined ? undefined : await this.#parts.db.layer(parent)
    if (parent !== undefined && below === undefined) return { faults: [`its parent ${parent} is missing`] }
    const tarSplit = this.#parts.db.tarSplit(chainId)
    const kept = { driver: this.#parts.driver, cacheId, parentCacheId: below?.cacheId }
    return verifyLayer({ ...kept, diffId, size, tarSplit }, { signal })
  }

  async #tryVerify(
    place: LayerPlace,
    cacheId: string,
    signal: AbortSignal | undefined,
  ): Promise<LayerFindings | undefined> {
    try {
      return await this.#verify(place, cacheId, undefined, signal)
    } catch {
      signal?.throwIfAborted()
      return undefined
    }
  }

  /** Driver layers that a damaged entry may have named: the one that it still names, or else all unreferenced ones. */
  async #candidates(id: ChainID): Promise<string[]> {
    const taken = await this.#takenIds(id)
    const written = this.#parts.db.writtenCacheId(id)
    if (written !== undefined && !taken.has(written) && (await this.#isOnDisk(written))) return [written]
    return (await this.#parts.driver.list()).filter((each) => !taken.has(each))
  }

  /** Like `#candidates`. An id that the driver does not keep matches one that differs in a few characters. */
  async #writableCandidate(name: string): Promise<string> {
    const taken = await this.#takenIds(name)
    const written = this.#parts.db.writtenMountId(name)
    if (written !== undefined && !taken.has(written) && (await this.#isOnDisk(written))) return written
    const free = (await this.#parts.driver.list()).filter((id) => !taken.has(id))
    const possible = written === undefined ? free : free.filter((id) => isNearly(id, written))
    if (possible[0] !== undefined && possible.length === 1) return possible[0]
    throw new StoreError(
      'STORE_CORRUPT',
      `cannot tell which of ${free.length} driver layers belongs to ${name}`,
    )
  }

  /** Also `true` for a layer with damaged bookkeeping. */
  async #isOnDisk(id: string): Promise<boolean> {
    return ((await this.#parts.driver.idsOnDisk?.()) ?? (await this.#parts.driver.list())).includes(id)
  }

  /** Driver ids that intact entries other than `of`, and running work, name. */
  async #takenIds(of: string): Promise<Set<string>> {
    const taken = driverIdsOf(await this.#parts.claims.all())
    for (const { chainId, cacheId } of await this.#parts.db.soundLayers())
      if (chainId !== of) taken.add(cacheId)
    for (const name of await this.#parts.db.writableNames()) {
      const { mountId, initId } = (await this.#parts.db.writable(name).catch(() => undefined)) ?? {}
      for (const id of name === of ? [] : [mountId, initId]) if (id !== undefined) taken.add(id)
    }
    return taken
  }

  async #refuseDependents(id: ChainID): Promise<void> {
    const child = (await this.#parts.db.soundLayers()).find(({ parent }) => parent === id)
    const writable = (await this.#parts.db.writables()).find(({ parent }) => parent === id)
    const user = child?.chainId ?? writable?.name
    if (user !== undefined)
      throw new StoreError('LAYER_IN_USE', `${user} is based on layer ${id}, whose layerdb entry is lost`)
  }

  /** Call under the lock. */
  async #requireUnchanged({ id, cacheId }: Examination): Promise<void> {
    const now = await this.#entry(id)
    if (now === undefined) throw changed(id)
    if ((now instanceof Error ? undefined : now.cacheId) !== cacheId) throw changed(id)
  }

  async #isStable(id: ChainID, cacheId: string | undefined): Promise<boolean> {
    const underWay = driverIdsOf(await this.#parts.claims.living())
    if (cacheId !== undefined && underWay.has(cacheId)) return false
    const now = await this.#entry(id)
    return now !== undefined && (now instanceof Error ? undefined : now.cacheId) === cacheId
  }

  async #entry(id: ChainID): Promise<Layer | Error | undefined> {
    try {
      return await this.#parts.db.layer(id)
    } catch (error) {
      if (error instanceof StoreError) return error
      throw error
    }
  }
}

/** Ids are random. Two ids that differ in at most this many characters are one id and its damaged copy. */
const MOST_DAMAGED = 8

function isNearly(id: string, damaged: string): boolean {
  const differing = [...id].filter((char, index) => char !== damaged[index]).length
  return id.length === damaged.length && differing <= MOST_DAMAGED
}

function changed(id: string): StoreError {
  return new StoreError('LAYER_NOT_FOUND', `layer ${id} was changed by another process during the check`)
}
