import { chainIds, type ChainID, type ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { DetachedLayer } from '../layers/layer-store.js'
import type { Catalog } from './catalog.js'
import { Usage } from './usage.js'

/** What {@link Store.remove} removed. */
export interface Removed {
  /** The removed references, in familiar form or as they were given. */
  readonly untagged: readonly string[]
  /** The removed images, in order of removal. */
  readonly deleted: readonly ImageID[]
}

/**
 * Removes as `docker rmi`. By name: only that name, and the image with its last name. By ID: the image and its name; an
 * image with several names is `REFERENCE_CONFLICT` unless `force`. Also removes the image's layers that no other image or
 * container needs, and the unnamed, unused images that it was committed from.
 *
 * Rejects with `IMAGE_IN_USE` if a container stands on the image, or if another image was committed from it. In the latter
 * case, removing by name removes only the name.
 */
export function removeImage(catalog: Catalog, text: string, force: boolean): Promise<Removed> {
  return catalog.lockedRemoval(async (detached) => {
    const id = await catalog.find(text)
    const names = (await catalog.references.all()).get(id) ?? []
    const named = (await catalog.referenceOf(text)) !== undefined
    if (names.length > 1 && !force) {
      if (!named) throw severalNames(id, names)
      return untag(catalog, [text])
    }
    const usage = await Usage.read(catalog)
    refuseContainers(usage, id)
    const child = usage.childOf(id)
    if (child === undefined) return withUnusedParents(catalog, usage, id, names, detached)
    if (named) return untag(catalog, names)
    throw new StoreError('IMAGE_IN_USE', `image ${child} was committed from image ${id}`, {
      hint: `remove image ${child} first`,
    })
  })
}

/**
 * Removes layers of the chain that no image, container or other process needs, top layers first. Call it under the
 * catalog's lock.
 * @param detached receives the layers whose content the caller must delete
 */
export async function removeUnusedLayers(
  catalog: Catalog,
  chain: readonly ChainID[],
  detached: DetachedLayer[],
): Promise<void> {
  const used = await usedLayers(catalog)
  for (const id of chain.toReversed()) {
    if (used.has(id)) return
    try {
      await catalog.layers.require(id)
      detached.push(await catalog.layers.detach(id))
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      if (error.code === 'LAYER_IN_USE') return
      if (error.code !== 'LAYER_NOT_FOUND') throw error
    }
  }
}

/** The chains of all images. An unreadable image keeps no layer. */
export async function usedLayers(catalog: Catalog): Promise<Set<ChainID>> {
  const used = new Set<ChainID>()
  for (const id of await catalog.images.list()) for (const chain of await catalog.chainOf(id)) used.add(chain)
  return used
}

async function deleteImage(
  catalog: Catalog,
  id: ImageID,
  names: readonly string[],
  detached: DetachedLayer[],
): Promise<void> {
  const { rootfs } = await catalog.images.config(id)
  await catalog.references.delete(names)
  await catalog.images.remove(id)
  await removeUnusedLayers(catalog, chainIds(rootfs.diff_ids), detached)
}

async function untag(catalog: Catalog, names: readonly string[]): Promise<Removed> {
  await catalog.references.delete(names)
  return { untagged: names, deleted: [] }
}

async function withUnusedParents(
  catalog: Catalog,
  usage: Usage,
  id: ImageID,
  names: readonly string[],
  detached: DetachedLayer[],
): Promise<Removed> {
  const deleted: ImageID[] = []
  for (let next: ImageID | undefined = id; next !== undefined;) {
    await deleteImage(catalog, next, next === id ? names : [], detached)
    deleted.push(next)
    const parent = usage.parentOf(next)
    usage.forget(next)
    next = parent !== undefined && usage.isUnneeded(parent) ? parent : undefined
  }
  return { untagged: names, deleted }
}

function refuseContainers(usage: Usage, id: ImageID): void {
  const [user] = usage.containersOn(id)
  if (user === undefined) return
  throw new StoreError('IMAGE_IN_USE', `container ${user} uses image ${id}`, {
    hint: 'remove the container first',
  })
}

function severalNames(id: ImageID, names: readonly string[]): StoreError {
  return new StoreError('REFERENCE_CONFLICT', `image ${id} has several names: ${names.join(', ')}`, {
    hint: 'remove the names one by one, or use { force: true }',
  })
}
