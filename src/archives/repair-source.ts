import type { RepairSource } from '../catalog/repair.js'
import type { DiffID } from '../digest.js'
import type { LayerSource } from '../layers/layer-upkeep.js'
import type { ArchiveFiles, OpenArchiveOptions } from './archive-files.js'
import { readImages } from './manifest.js'

/**
 * The layers and configs of an archive, in the form that a repair takes. The layers of a compressed archive are saved
 * first, because it can be read only in order.
 */
export async function repairSource(
  files: ArchiveFiles,
  { limits, signal }: OpenArchiveOptions,
): Promise<RepairSource> {
  const images = await readImages(files, { platform: undefined, limits, signal })
  const names = new Set(images.flatMap(({ layers }) => layers.map(({ name }) => files.target(name))))
  for await (const file of files.inOrder?.() ?? []) {
    signal?.throwIfAborted()
    if (names.has(file.name)) await file.keep()
  }
  const sources = new Map<DiffID, LayerSource>()
  for (const { config, layers } of images) {
    for (const [index, diffId] of config.rootfs.diff_ids.entries()) {
      const { name = '', blob } = layers[index] ?? {}
      const source = files.range(name)
      if (source !== undefined) sources.set(diffId, { source, blob })
    }
  }
  return {
    layer: (diffId) => sources.get(diffId),
    chains: images.map(({ config }) => config.rootfs.diff_ids),
    config: (id) => images.find((image) => image.id === id)?.configBytes,
  }
}
