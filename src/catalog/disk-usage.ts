import { chainIds, type ChainID, type ImageID } from '../digest.js'
import { isAbort, StoreError } from '../errors.js'
import type { OperationOptions } from '../operation-options.js'
import type { Catalog } from './catalog.js'

/** Disk usage as `docker system df` counts it: bytes of regular files in the layers. */
export interface DiskUsage {
  /** Bytes of all layers, each counted once. */
  readonly layersSize: number
  /** The usage of each image. */
  readonly images: readonly ImageUsage[]
  /** The usage of each container. */
  readonly containers: readonly ContainerUsage[]
  /** Bytes of the layers that no container's image needs. */
  readonly reclaimable: number
}

/** The disk usage of an image. */
export interface ImageUsage {
  /** The image ID. */
  readonly id: ImageID
  /** Names of the image in familiar form, sorted. */
  readonly references: readonly string[]
  /** Bytes of all its layers. */
  readonly size: number
  /** Bytes of those of its layers that other images have, too. */
  readonly sharedSize: number
  /** The number of containers on the image. */
  readonly containers: number
}

/** The disk usage of a container. */
export interface ContainerUsage {
  /** The container id. */
  readonly id: string
  /** The name of the container. */
  readonly name: string
  /** Bytes of the files that were added or changed. */
  readonly size: number
}

/** Leaves out what other processes remove meanwhile, and damaged entries, which `check` reports. */
export async function diskUsage(catalog: Catalog, options: OperationOptions): Promise<DiskUsage> {
  const sizes = new Map((await catalog.layers.soundLayers()).map(({ chainId, size }) => [chainId, size]))
  const images = await catalog.list()
  const records = await catalog.containers.list()
  const users = new Map<ChainID, number>()
  for (const { layers } of images) for (const id of chainIds(layers)) users.set(id, (users.get(id) ?? 0) + 1)
  const active = new Set<ChainID>()
  const usages = images.map(({ id, references, size, layers }): ImageUsage => {
    const chain = chainIds(layers)
    const containers = records.filter(({ image }) => image === id).length
    if (containers > 0) for (const link of chain) active.add(link)
    const shared = chain.filter((link) => (users.get(link) ?? 0) > 1)
    return { id, references, size, sharedSize: sumOf(shared, sizes), containers }
  })
  const containers: ContainerUsage[] = []
  for (const { id, name } of records) {
    const size = await sizeIfThere(catalog, id, options)
    if (size !== undefined) containers.push({ id, name, size })
  }
  const layersSize = sumOf(sizes.keys(), sizes)
  return { layersSize, images: usages, containers, reclaimable: layersSize - sumOf(active, sizes) }
}

/**
 * `undefined` for a container that is removed while its layer is read. Retries while a failing removal hides the layer.
 */
async function sizeIfThere(
  { containers, layers }: Catalog,
  id: string,
  options: OperationOptions,
): Promise<number | undefined> {
  for (;;) {
    try {
      return await layers.writables.size(id, options)
    } catch (error) {
      if (isAbort(error)) throw error
      const isHere = (await containers.has(id)) && (await layers.writables.has(id))
      if (!isHere || (await layers.writables.isUnderWay(id))) return undefined
      if (!(error instanceof StoreError) || error.code !== 'CONTAINER_NOT_FOUND') throw error
    }
  }
}

function sumOf(ids: Iterable<ChainID>, sizes: ReadonlyMap<ChainID, number>): number {
  let sum = 0
  for (const id of ids) sum += sizes.get(id) ?? 0
  return sum
}
