import pLimit from 'p-limit'
import type { ChainID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation.js'
import type { ArchiveFiles } from './archive-files.js'
import type { ArchivedImage } from './manifest.js'

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
  const limit = pLimit(AT_A_TIME)
  const work = images.map((image) =>
    limit(async () => {
      try {
        await loadStack(layers, files, image, { ...options, signal })
      } catch (error) {
        failure.abort(error)
        throw error
      }
    }),
  )
  await Promise.allSettled(work)
  failure.signal.throwIfAborted()
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
    const name = image.layers[index]?.name ?? ''
    const source = files.range(name) ?? { chunks: missing(name) }
    parent = (await layers.register(source, { ...options, parent, expected: diffId })).chainId
  }
}

/** Read only if the layer is not here. */
async function* missing(name: string): AsyncGenerator<Uint8Array> {
  yield* []
  throw new StoreError('LAYER_MISSING', `the archive has no file ${name}, and the layer is not in the store`)
}
