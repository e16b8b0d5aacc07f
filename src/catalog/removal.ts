import { chainIds, type ChainID, type ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { DetachedLayer } from '../layers/layer-store.js'
import type { Catalog } from './catalog.js'
import { Usage } from './usage.js'

/** What went: familiar texts of references, and images in the order in which they were removed. */
export interface Removed {
  readonly untagged: readonly string[]
  readonly deleted: readonly ImageID[]
}

/**
 * Removes as `docker rmi`. By name: that name alone, and with its last name the image. By ID: the image, with its name;
 * one that has several is `REFERENCE_CONFLICT` unless `force`. With an image go its layers, as far as no other image and
 * no container needs them, and the images that it was committed from, as far as nobody named them or uses them.
 *
 * An image that a container stands on, or that another was committed from, is `IMAGE_IN_USE`; by name the latter loses
 * its name alone.
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
      hint: 'remove that one first',
    })
  })
}

/**
 * Removes layers of the chain that no image, no container and no other process needs, the uppermost first. Under the
 * catalog's lock.
 * @param detached takes those whose content is to be deleted
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

/** Chains, with all below them, of all images. An image that cannot be read is no reason to keep a layer. */
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
  throw new StoreError('IMAGE_IN_USE', `container ${user} stands on image ${id}`, {
    hint: 'remove the container first',
  })
}

function severalNames(id: ImageID, names: readonly string[]): StoreError {
  return new StoreError('REFERENCE_CONFLICT', `image ${id} has several names: ${names.join(', ')}`, {
    hint: 'remove the names one by one, or use force',
  })
}
