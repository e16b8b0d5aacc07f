import type { ChainID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation.js'
import type { ArchiveFiles } from './archive-files.js'
import type { ArchivedImage } from './manifest.js'

/**
 * Brings the layers of an archived image into the store, lowest first. What is here already is skipped unread. Layers
 * that were stored before an error stay: they are whole, nothing names them, and the next try finds them.
 */
export async function loadLayers(
  layers: LayerStore,
  files: ArchiveFiles,
  image: ArchivedImage,
  options: OperationOptions,
): Promise<ChainID | undefined> {
  let parent: ChainID | undefined
  for (const [index, diffId] of image.config.rootfs.diff_ids.entries()) {
    options.signal?.throwIfAborted()
    const name = image.layers[index]?.name ?? ''
    const range = files.range(name)
    const source = range ?? { chunks: missing(name) }
    parent = (await layers.register(source, { ...options, parent, expected: diffId })).chainId
  }
  return parent
}

/** Read only if the layer is not here. */
async function* missing(name: string): AsyncGenerator<Uint8Array> {
  yield* []
  throw new StoreError('LAYER_MISSING', `the archive has no file ${name}, and the layer is not in the store`)
}
