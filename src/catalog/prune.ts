import type { ChainID, ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { Layer } from '../layers/layer.js'
import type { OperationOptions } from '../operation.js'
import { parseReference } from '../references/reference.js'
import type { Catalog } from './catalog.js'
import { deleteImage, isUnneeded, usedLayers } from './removal.js'

export interface PruneOptions extends OperationOptions {
  /** Images with names, too, if no container stands on them. @default false */
  readonly all?: boolean | undefined
}

export interface Pruned {
  /** Familiar texts of the references that went. */
  readonly untagged: readonly string[]
  readonly images: readonly ImageID[]
  readonly layers: readonly ChainID[]
  /** Bytes of the files of those layers. */
  readonly reclaimed: number
}

/**
 * Removes as `docker image prune`: images that have no name and that nothing stands on; and, what Docker has no command
 * for, layers that no image names, as a load leaves them whose process died.
 */
export async function prune(catalog: Catalog, { all = false, signal }: PruneOptions): Promise<Pruned> {
  const before = await catalog.layers.list()
  const untagged: string[] = []
  const images: ImageID[] = []
  await catalog.locked(async () => {
    if (all) untagged.push(...(await untagUnused(catalog)))
    // An image that goes may have been the last that stood on another.
    for (let found = true; found;) {
      found = false
      for (const id of await catalog.images.list()) {
        signal?.throwIfAborted()
        if (!(await isUnneeded(catalog, id))) continue
        await deleteImage(catalog, id, [])
        images.push(id)
        found = true
      }
    }
    await removeOrphans(catalog, signal)
  })
  const left = new Set((await catalog.layers.list()).map(({ chainId }) => chainId))
  const gone = before.filter(({ chainId }) => !left.has(chainId))
  return {
    untagged,
    images,
    layers: gone.map(({ chainId }) => chainId),
    reclaimed: gone.reduce((sum, { size }) => sum + size, 0),
  }
}

async function untagUnused(catalog: Catalog): Promise<string[]> {
  const untagged: string[] = []
  for (const [id, names] of await catalog.references.all()) {
    if ((await catalog.images.has(id)) && (await catalog.containersOn(id)).length === 0)
      untagged.push(...names)
  }
  await catalog.references.delete(untagged.map(parseReference))
  return untagged
}

/** The uppermost first, so that each goes that nothing needs. */
async function removeOrphans(catalog: Catalog, signal: AbortSignal | undefined): Promise<void> {
  const used = await usedLayers(catalog)
  const orphans = (await catalog.layers.list()).filter(({ chainId }) => !used.has(chainId))
  for (const { chainId } of uppermostFirst(orphans)) {
    signal?.throwIfAborted()
    try {
      await catalog.layers.remove(chainId)
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
    }
  }
}

function uppermostFirst(layers: readonly Layer[]): Layer[] {
  const byId = new Map(layers.map((layer) => [layer.chainId, layer]))
  const depth = (layer: Layer | undefined): number =>
    layer === undefined ? 0 : 1 + depth(layer.parent === undefined ? undefined : byId.get(layer.parent))
  return layers.toSorted((one, other) => depth(other) - depth(one))
}
