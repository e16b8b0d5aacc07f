import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { chainId, type ChainID, type Digest, type DiffID } from '../digest.js'
import type { SyncFs } from '../fs/sync-fs.js'
import { commitHere, flattenHere, unpackHere } from '../jobs/run/here.js'
import { runJob } from '../jobs/run/run-job.js'
import type { ByteSource } from '../jobs/work/byte-source.js'
import type { CommitTimes } from '../jobs/work/commit.js'
import type { LayerResult, LayerSinks } from '../jobs/work/layer-intake.js'
import type { JobOptions } from '../jobs/work/pace.js'
import type { ResolvedLimits } from '../limits.js'
import type { OperationOptions } from '../operation-options.js'
import type { ProgressEvent } from '../progress.js'
import { sourceDateNs } from '../source-date.js'
import type { ApplyTarget } from '../tar/apply.js'
import type { Claim } from './claims.js'
import { openContents, type LayerContents } from './layer-contents.js'
import type { LayerParts } from './layer-parts.js'
import type { Swap } from './layer-upkeep.js'
import type { Layer, WritableLayer } from './layer.js'
import { TAR_SPLIT } from './layerdb.js'

/** Receives the pin on the layer that is made, before the layer exists. The caller disposes of it. */
export type OnPinned = (pin: AsyncDisposable) => void

export interface MakeOptions extends OperationOptions {
  readonly onPinned?: OnPinned | undefined
  /** @internal Publishes the layer instead of the store, under the lock. */
  readonly swap?: Swap | undefined
}

export interface RegisterOptions extends MakeOptions {
  readonly parent?: ChainID | undefined
  /** The DiffID that the layer must have: another one is `DIGEST_MISMATCH`, and a layer that exists is not read. */
  readonly expected?: DiffID | undefined
  /** The digest that the source's bytes must have, compressed or not: another one is `DIGEST_MISMATCH`. */
  readonly blob?: Digest | undefined
  /** Bounds on what the tar may ask for. @default none */
  readonly limits?: ResolvedLimits | undefined
  /** Size in bytes of the compressed archive that contains the source. */
  readonly packedBytes?: number | undefined
}

/** Makes read-only layers: a driver layer, its entry in the layerdb, and the tar-split in it. */
export class LayerMaker {
  readonly #parts: LayerParts

  constructor(parts: LayerParts) {
    this.#parts = parts
  }

  unpack(source: ByteSource, options: RegisterOptions): Promise<Layer> {
    const { parent, expected, blob: expectedBlob, limits, packedBytes } = options
    const bounds = { expected, expectedBlob, limits, packedBytes }
    return this.#make(parent, options, async (writeSet, cacheId, below) => {
      const progress = jobOptions(options, (done) => ({
        type: 'layer:unpack',
        id: expected ?? cacheId,
        done,
      }))
      const splitFile = join(writeSet, TAR_SPLIT)
      const target = await this.#parts.driver.applyTarget?.(cacheId, below?.cacheId)
      if (target !== undefined)
        return runJob({ kind: 'unpack', source, target, splitFile, ...bounds }, progress)
      return this.#throughView(cacheId, (syncFs) =>
        unpackHere({ source, target: { syncFs }, splitFile, ...bounds }, progress),
      )
    })
  }

  /** Makes a layer of what a writable layer holds, on the same parent. The caller claims the writable layer. */
  async copy(layer: WritableLayer, options: MakeOptions): Promise<Layer> {
    const { driver, db } = this.#parts
    const parent = await db.idBelow(layer)
    return this.#make(layer.parent, options, async (writeSet, cacheId, below) => {
      const splitFile = join(writeSet, TAR_SPLIT)
      const progress = jobOptions(options, (done) => ({ type: 'layer:commit', id: layer.name, done }))
      const source = await driver.diffSource?.(layer.mountId, parent)
      const target = await driver.applyTarget?.(cacheId, below?.cacheId)
      if (source !== undefined && target !== undefined) {
        return runJob({ kind: 'commit', source, target, splitFile, clampMtimeNs: sourceDateNs() }, progress)
      }
      return this.#throughView(cacheId, (syncFs) =>
        this.#readHere(layer.mountId, parent, { target: { syncFs }, splitFile }, progress),
      )
    })
  }

  /** Reads a writable layer that becomes a layer itself: its digest, its size, and the tar-split. */
  async readForAdoption(layer: WritableLayer, splitFile: string, options: MakeOptions): Promise<LayerResult> {
    const { driver, db } = this.#parts
    const progress = jobOptions(options, (done) => ({ type: 'layer:commit', id: layer.name, done }))
    const below = await db.idBelow(layer)
    const source = await driver.diffSource?.(layer.mountId, below)
    const sinks = { splitFile, adopts: true }
    if (source === undefined) return this.#readHere(layer.mountId, below, sinks, progress)
    const result = await runJob({ kind: 'commit', source, ...sinks, clampMtimeNs: sourceDateNs() }, progress)
    if (source.form === 'overlay') await runJob({ kind: 'sync', paths: [source.upper.root] })
    return result
  }

  /** Merges a stack, lowest layer first, into one layer without a parent, straight from the layers. */
  flatten(stack: readonly Layer[], options: MakeOptions): Promise<Layer> {
    const { driver, db } = this.#parts
    const top = (stack.at(-1) as Layer).chainId
    return this.#make(undefined, options, async (writeSet, cacheId) => {
      const progress = jobOptions(options, (done) => ({ type: 'layer:flatten', id: top, done }))
      const splitFile = join(writeSet, TAR_SPLIT)
      const target = await driver.applyTarget?.(cacheId)
      const layers = []
      for (const { chainId: id, cacheId: below } of stack) {
        const contents = await driver.contents?.(below)
        if (contents !== undefined) layers.push({ splitFile: db.tarSplit(id), contents })
      }
      const clampMtimeNs = sourceDateNs()
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
    const { driver, db } = this.#parts
    const opened: LayerContents[] = []
    const clampMtimeNs = sourceDateNs()
    try {
      for (const { cacheId } of stack) opened.push(await openContents(driver, cacheId))
      const layers = stack.map(({ chainId: id }, index) => ({
        splitFile: db.tarSplit(id),
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

  async #readHere(
    mountId: string,
    below: string | undefined,
    sinks: LayerSinks & CommitTimes,
    progress: JobOptions,
  ): Promise<LayerResult> {
    const { driver } = this.#parts
    const clampMtimeNs = sourceDateNs()
    const open = await driver.diffTrees?.(mountId, below)
    if (open === undefined) {
      const chunks = driver.diff(mountId, below, { signal: progress.signal, clampMtimeNs })
      return unpackHere({ source: { chunks }, ...sinks }, progress)
    }
    try {
      return await commitHere({ source: open.trees, ...sinks, clampMtimeNs }, progress)
    } finally {
      await open.close()
    }
  }

  /** Makes a driver layer and its entry in the layerdb. `work` fills the layer and writes the tar-split of the entry. */
  #make(
    parent: ChainID | undefined,
    options: MakeOptions,
    work: (writeSet: string, cacheId: string, below: Layer | undefined) => Promise<LayerResult>,
  ): Promise<Layer> {
    const { driver, db, claims, locked } = this.#parts
    const cacheId = randomId()
    return claims.under([{ kind: 'layer', id: cacheId }, ...claimOf(parent)], async (rollback) => {
      options.signal?.throwIfAborted()
      const below = await this.foundation(parent)
      rollback.onFailure(() => driver.remove(cacheId))
      await driver.create(cacheId, below?.cacheId)
      const writeSet = await db.writeSet(cacheId)
      rollback.onFailure(() => rm(writeSet, { recursive: true, force: true }))
      const { diffId, size } = await work(writeSet, cacheId, below)
      const made: Layer = { chainId: chainId(parent, diffId), diffId, parent, size, cacheId }
      await db.seal(writeSet, made)
      const twin = await locked(async () => {
        await this.pinMade(made, options)
        if (options.swap !== undefined) {
          await options.swap(writeSet, made)
          return undefined
        }
        const there = await db.layer(made.chainId)
        if (there === undefined) await db.publish(cacheId, made.chainId)
        return there
      })
      if (twin !== undefined) {
        await rm(writeSet, { recursive: true, force: true })
        await driver.remove(cacheId)
      }
      options.onProgress?.({ type: 'layer:stored', id: diffId, size })
      return twin ?? made
    })
  }

  /** The layer below a new one. Call it under a claim on the chain, which keeps the layer from then on. */
  async foundation(parent: ChainID | undefined): Promise<Layer | undefined> {
    const { db, locked } = this.#parts
    return parent === undefined ? undefined : locked(() => db.require(parent))
  }

  /** Pinned under the publishing lock, so the layer is never visible unpinned. */
  async pinMade({ chainId: id }: Layer, { onPinned }: MakeOptions): Promise<void> {
    if (onPinned !== undefined) onPinned(await this.#parts.claims.take({ kind: 'chain', id }))
  }

  async #throughView<T>(id: string, work: (syncFs: SyncFs) => Promise<T>): Promise<T> {
    const { driver } = this.#parts
    const { fs } = await driver.get(id)
    try {
      return await work(fs.syncFs)
    } finally {
      await driver.put(id)
    }
  }
}

/** The claim on a parent, if there is one. */
export function claimOf(parent: ChainID | undefined): Claim[] {
  return parent === undefined ? [] : [{ kind: 'chain', id: parent }]
}

/** A new id for a driver layer: random, never derived from the content. */
export function randomId(): string {
  return randomBytes(32).toString('hex')
}

function jobOptions(
  { signal, onProgress }: OperationOptions,
  event: (done: number) => ProgressEvent,
): JobOptions {
  return { signal, onProgress: onProgress && ((done) => onProgress(event(done))) }
}
