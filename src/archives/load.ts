import pLimit from 'p-limit'
import { checkExpansion } from '../compression/expansion.js'
import { chainId, chainIds, type ChainID, type Digest, type DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { ByteSource } from '../jobs/work/byte-source.js'
import type { Layer } from '../layers/layer.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { RegisterOptions } from '../layers/make-layer.js'
import { limitExceeded, type ResolvedLimits } from '../limits.js'
import type { OperationOptions } from '../operation-options.js'
import type { ProgressListener } from '../progress.js'
import type { ArchiveFiles } from './archive-files.js'
import type { ArchivedImage } from './archived-image.js'

/** Images loaded at a time: as many as Docker downloads layers at a time. */
const AT_A_TIME = 3
/** For a smaller compressed archive, avoiding a copy of its layers is not worth it. */
const SMALL_ARCHIVE = 16 << 20
/** A larger archive that expands by more than this is treated like a small one. */
const USUAL_EXPANSION = 10

export interface LoadLayersOptions extends OperationOptions {
  readonly limits: ResolvedLimits
}

/**
 * Loads the layers of archived images into the store, the lowest layer of each image first. Images do not wait for one
 * another, and a layer that several images share is read once. Layers already in the store are skipped unread. If one
 * image fails, the others are stopped. What was stored by then stays, and is complete.
 */
export async function loadLayers(
  layers: LayerStore,
  files: ArchiveFiles,
  images: readonly ArchivedImage[],
  options: LoadLayersOptions,
): Promise<void> {
  const failure = new AbortController()
  const signal = AbortSignal.any([failure.signal, ...(options.signal === undefined ? [] : [options.signal])])
  const budget = new Budget(layers, options.limits, files.packedBytes, await bytesOfLayers(files, images))
  const inOrder = { ...options, signal, budget }
  const taken =
    files.inOrder === undefined ? new Set<DiffID>() : await takeInOrder(layers, files, images, inOrder)
  const limit = pLimit(AT_A_TIME)
  const work = images.map((image) =>
    limit(async () => {
      try {
        await loadStack(files, image, {
          ...inOrder,
          onProgress: withoutNews(options.onProgress, taken),
        })
      } catch (error) {
        failure.abort(error)
        throw error
      }
    }),
  )
  await Promise.allSettled(work)
  failure.signal.throwIfAborted()
}

interface Place {
  readonly name: string
  readonly blob: Digest | undefined
  readonly diffId: DiffID
  readonly chainId: ChainID
  readonly parent: ChainID | undefined
}

/**
 * Reads the archive once and stores each layer as it arrives, if its parent is in the store. Otherwise saves it for
 * later. Returns the layers it stored.
 */
async function takeInOrder(
  layers: LayerStore,
  files: ArchiveFiles,
  images: readonly ArchivedImage[],
  options: TakeOptions,
): Promise<Set<DiffID>> {
  const taken = new Set<DiffID>()
  const places = new Map(images.flatMap(placesOf).map((place) => [place.chainId, place]))
  const missingHere = new Map<string | undefined, Place[]>()
  for (const place of places.values()) {
    if ((await layers.get(place.chainId)) !== undefined) continue
    const name = files.target(place.name)
    missingHere.set(name, [...(missingHere.get(name) ?? []), place])
  }
  if (missingHere.size === 0) return taken
  const keepsAll = await isSuspicious(files)
  for await (const file of files.inOrder?.() ?? []) {
    options.signal?.throwIfAborted()
    const wanted = missingHere.get(file.name) ?? []
    const [place] = wanted
    if (place === undefined) continue
    const { parent, diffId, blob } = place
    const isReady = parent === undefined || (await layers.get(parent)) !== undefined
    if (keepsAll || wanted.length > 1 || !isReady) await file.keep()
    else {
      await options.budget.register({ chunks: file.content }, { ...options, parent, expected: diffId, blob })
      taken.add(diffId)
    }
  }
  return taken
}

/**
 * Whether layers are saved before they are applied. A saved layer can be read twice, which bounds the cost of an
 * archive with a wrong digest (see `VerifyAhead`).
 */
async function isSuspicious(files: ArchiveFiles): Promise<boolean> {
  const { packedBytes = 0 } = files
  if (packedBytes < SMALL_ARCHIVE) return true
  let unpacked = 0
  for (const name of files.names) unpacked += (await files.size(name)) ?? 0
  return unpacked > USUAL_EXPANSION * packedBytes
}

async function bytesOfLayers(files: ArchiveFiles, images: readonly ArchivedImage[]): Promise<number> {
  let bytes = 0
  for (const name of new Set(images.flatMap(({ layers }) => layers.map((layer) => layer.name)))) {
    bytes += (await files.size(name)) ?? 0
  }
  return bytes
}

interface TakeOptions extends LoadLayersOptions {
  readonly budget: Budget
}

/** Registers layers while all of them together keep to the limits. */
class Budget {
  readonly #layers: LayerStore
  readonly #limits: ResolvedLimits
  readonly #packedBytes: number | undefined
  readonly #layerBytes: number
  #unpacked = 0

  /** @param layerBytes bytes of all layers as stored in the archive */
  constructor(
    layers: LayerStore,
    limits: ResolvedLimits,
    packedBytes: number | undefined,
    layerBytes: number,
  ) {
    this.#layers = layers
    this.#limits = limits
    this.#packedBytes = packedBytes
    this.#layerBytes = Math.min(layerBytes, packedBytes ?? Infinity)
  }

  /** A layer already in the store costs nothing. */
  async register(source: ByteSource, options: RegisterOptions & { expected: DiffID }): Promise<Layer> {
    const { parent, expected } = options
    if ((await this.#layers.get(chainId(parent, expected))) !== undefined) {
      return this.#layers.register(source, options)
    }
    const limits = { ...this.#limits, unpackedBefore: this.#unpacked }
    const layer = await this.#layers.register(source, { ...options, limits, packedBytes: this.#packedBytes })
    this.#unpacked += layer.size
    const { expansion, unpackedBytes } = this.#limits
    checkExpansion(this.#layerBytes, this.#unpacked, expansion)
    if (this.#unpacked <= unpackedBytes) return layer
    throw limitExceeded('unpackedBytes', unpackedBytes, `the layers exceed ${unpackedBytes} bytes in total`)
  }
}

/** Lists the layers of an image, lowest first. Images that share a layer share its ChainID. */
function placesOf({ config, layers }: ArchivedImage): Place[] {
  const diffIds = config.rootfs.diff_ids
  const chain = chainIds(diffIds)
  return chain.map((id, index) => ({
    name: layers[index]?.name ?? '',
    blob: layers[index]?.blob,
    diffId: diffIds[index] as DiffID,
    chainId: id,
    parent: chain[index - 1],
  }))
}

/** Hides `layer:exists` events for layers that this load has just stored itself. */
function withoutNews(
  onProgress: ProgressListener | undefined,
  taken: ReadonlySet<DiffID>,
): ProgressListener | undefined {
  return (
    onProgress &&
    ((event) => {
      if (event.type !== 'layer:exists' || !taken.has(event.id)) onProgress(event)
    })
  )
}

async function loadStack(files: ArchiveFiles, image: ArchivedImage, options: TakeOptions): Promise<void> {
  let parent: ChainID | undefined
  for (const [index, diffId] of image.config.rootfs.diff_ids.entries()) {
    options.signal?.throwIfAborted()
    const { name = '', blob } = image.layers[index] ?? {}
    const source = files.range(name) ?? { chunks: missing(name) }
    parent = (await options.budget.register(source, { ...options, parent, expected: diffId, blob })).chainId
  }
}

/** Read only if the layer is not in the store. */
async function* missing(name: string): AsyncGenerator<Uint8Array> {
  yield* []
  throw new StoreError('LAYER_MISSING', `the archive has no file ${name}, and the layer is not in the store`)
}
