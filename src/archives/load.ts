import pLimit from 'p-limit'
import { chainIds, type ChainID, type Digest, type DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation.js'
import type { ProgressListener } from '../progress.js'
import type { ArchiveFiles } from './archive-files.js'
import type { ArchivedImage } from './archived-image.js'

/** As many images at a time as Docker downloads layers. */
const AT_A_TIME = 3

/**
 * Brings the layers of archived images into the store, the lowest of each image first; images do not wait for one
 * another, and a layer that several have is read once. What is here already is skipped unread. When one image fails the
 * others are stopped, and what was stored until then stays, whole.
 */
export async function loadLayers(
  layers: LayerStore,
  files: ArchiveFiles,
  images: readonly ArchivedImage[],
  options: OperationOptions,
): Promise<void> {
  const failure = new AbortController()
  const signal = AbortSignal.any([failure.signal, ...(options.signal === undefined ? [] : [options.signal])])
  const inOrder = { ...options, signal }
  const taken =
    files.inOrder === undefined ? new Set<DiffID>() : await takeInOrder(layers, files, images, inOrder)
  const limit = pLimit(AT_A_TIME)
  const work = images.map((image) =>
    limit(async () => {
      try {
        await loadStack(layers, files, image, {
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
 * Reads the archive once, and stores each layer, as it comes by, on a parent that is here; one that comes before its
 * parent is kept for later. Returns what was stored.
 */
async function takeInOrder(
  layers: LayerStore,
  files: ArchiveFiles,
  images: readonly ArchivedImage[],
  options: OperationOptions,
): Promise<Set<DiffID>> {
  const taken = new Set<DiffID>()
  const places = new Map(images.flatMap(placesOf).map((place) => [place.chainId, place]))
  const missingHere: Place[] = []
  for (const place of places.values())
    if ((await layers.get(place.chainId)) === undefined) missingHere.push(place)
  if (missingHere.length === 0) return taken
  for await (const file of files.inOrder?.() ?? []) {
    options.signal?.throwIfAborted()
    const wanted = missingHere.filter(({ name }) => file.is(name))
    const [place] = wanted
    if (place === undefined) continue
    const { parent, diffId, blob } = place
    const isReady = parent === undefined || (await layers.get(parent)) !== undefined
    if (wanted.length > 1 || !isReady) await file.keep()
    else {
      await layers.register({ chunks: file.content }, { ...options, parent, expected: diffId, blob })
      taken.add(diffId)
    }
  }
  return taken
}

/** The same place in two images is one. */
function placesOf({ config, layers }: ArchivedImage): Place[] {
  const diffIds = config.rootfs.diff_ids
  const chain = chainIds(diffIds)
  return chain.map((chainId, index) => ({
    name: layers[index]?.name ?? '',
    blob: layers[index]?.blob,
    diffId: diffIds[index] as DiffID,
    chainId,
    parent: chain[index - 1],
  }))
}

/** What this load itself has just stored is not told as having been here. */
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

async function loadStack(
  layers: LayerStore,
  files: ArchiveFiles,
  image: ArchivedImage,
  options: OperationOptions,
): Promise<void> {
  let parent: ChainID | undefined
  for (const [index, diffId] of image.config.rootfs.diff_ids.entries()) {
    options.signal?.throwIfAborted()
    const { name = '', blob } = image.layers[index] ?? {}
    const source = files.range(name) ?? { chunks: missing(name) }
    parent = (await layers.register(source, { ...options, parent, expected: diffId, blob })).chainId
  }
}

/** Read only if the layer is not here. */
async function* missing(name: string): AsyncGenerator<Uint8Array> {
  yield* []
  throw new StoreError('LAYER_MISSING', `the archive has no file ${name}, and the layer is not in the store`)
}
