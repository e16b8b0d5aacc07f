import type { ChainID, ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { DetachedLayer } from '../layers/layer-store.js'
import type { OperationOptions } from '../operation-options.js'
import type { Catalog } from './catalog.js'
import { finishConsumptions } from './consume.js'
import { usedLayers } from './removal.js'
import { Usage } from './usage.js'

/** Options of {@link Store.prune}. */
export interface PruneOptions extends OperationOptions {
  /** Also removes named images that no container is based on. @default false */
  readonly all?: boolean | undefined
}

/** What {@link Store.prune} removed. */
export interface Pruned {
  /** The removed references, in familiar form. */
  readonly untagged: readonly string[]
  /** The removed images, in order of removal. */
  readonly images: readonly ImageID[]
  /** The removed layers. */
  readonly layers: readonly ChainID[]
  /** Bytes of the regular files in those layers. */
  readonly reclaimed: number
}

/** How long one slice of the work may hold the lock, in ms. Other processes get the lock in between. */
const SLICE = 100

/**
 * Removes unnamed images that nothing stands on, as `docker image prune`. Also removes layers that no image names, which an
 * interrupted load leaves, and everything else that dead processes left.
 */
export async function prune(catalog: Catalog, { all = false, signal }: PruneOptions): Promise<Pruned> {
  await finishConsumptions(catalog)
  await catalog.tidy()
  await catalog.references.forgetDamaged()
  const before = await catalog.layers.list()
  const untagged = all ? await catalog.locked(() => untagUnused(catalog)) : []
  const images: ImageID[] = []
  const inUse = new Set<ChainID>()
  for (let isDone = false; !isDone;) {
    isDone = await catalog.lockedRemoval(async (detached) => {
      const end = Date.now() + SLICE
      const isOver = (): boolean => {
        signal?.throwIfAborted()
        return Date.now() >= end
      }
      return (
        (await removeUnneeded(catalog, images, isOver)) && removeOrphans(catalog, { detached, inUse, isOver })
      )
    })
  }
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
  const usage = await Usage.read(catalog)
  const here = new Set(usage.images)
  const untagged: string[] = []
  for (const [id, names] of await catalog.references.all()) {
    if (here.has(id) && usage.containersOn(id).length === 0) untagged.push(...names)
  }
  await catalog.references.delete(untagged)
  return untagged
}

/** Leaves their layers without an image. `false` if the slice ended before all were removed. */
async function removeUnneeded(catalog: Catalog, removed: ImageID[], isOver: () => boolean): Promise<boolean> {
  const usage = await Usage.read(catalog)
  // The removed image may have been the last one on its parent.
  for (let found = true; found;) {
    found = false
    for (const id of usage.images.filter((each) => usage.isUnneeded(each))) {
      await catalog.images.remove(id)
      usage.forget(id)
      removed.push(id)
      found = true
      if (isOver()) return false
    }
  }
  return true
}

interface OrphanRemoval {
  readonly detached: DetachedLayer[]
  /** Layers that running work needs. They are not tried again. */
  readonly inUse: Set<ChainID>
  isOver(): boolean
}

/** Top layers first, so that every unneeded layer is removed. `false` if the slice ended before all were removed. */
async function removeOrphans(catalog: Catalog, { detached, inUse, isOver }: OrphanRemoval): Promise<boolean> {
  const used = await usedLayers(catalog)
  const parents = await catalog.layers.parents()
  const orphans = [...parents.keys()].filter((id) => !used.has(id) && !inUse.has(id))
  for (const id of uppermostFirst(orphans, parents)) {
    try {
      detached.push(await catalog.layers.detach(id))
    } catch (error) {
      if (!(error instanceof StoreError) || !['LAYER_IN_USE', 'LAYER_NOT_FOUND'].includes(error.code))
        throw error
      inUse.add(id)
    }
    if (isOver()) return false
  }
  return true
}

function uppermostFirst(
  ids: readonly ChainID[],
  parents: ReadonlyMap<ChainID, ChainID | undefined>,
): ChainID[] {
  const depths = new Map<ChainID, number>()
  const depthOf = (id: ChainID): number => {
    let depth = 0
    for (let at: ChainID | undefined = id; at !== undefined; at = parents.get(at)) depth++
    return depth
  }
  for (const id of ids) depths.set(id, depthOf(id))
  return ids.toSorted((one, other) => (depths.get(other) ?? 0) - (depths.get(one) ?? 0))
}
