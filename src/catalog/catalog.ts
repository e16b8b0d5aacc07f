import { dirname } from 'node:path'
import type { ContainerStore } from '../containers/container-store.js'
import type { Driver } from '../drivers/driver.js'
import { chainIds, isDigest, sha256, type ChainID, type ImageID } from '../digest.js'
import { removeAbandoned } from '../durable/abandoned.js'
import { clearLockFiles } from '../durable/lock-file.js'
import { Lock } from '../durable/lock.js'
import { makeStoreDirectory } from '../durable/make-directory.js'
import { StoreError } from '../errors.js'
import type { Image, InspectedImage } from '../images/image.js'
import { parseImageConfig } from '../images/image-config.js'
import type { ImageStore } from '../images/image-store.js'
import type { DetachedLayer, LayerStore } from '../layers/layer-store.js'
import { fewAtATime } from '../concurrency.js'
import type { OperationOptions } from '../operation-options.js'
import { Rollback } from '../rollback.js'
import { familiarText, parseReference, withDefaultTag, type Reference } from '../references/reference.js'
import type { ReferenceStore } from '../references/reference-store.js'

export interface NewImage {
  readonly config: Uint8Array
  readonly references: readonly Reference[]
  /** The image that it was committed from. */
  readonly parent?: ImageID | undefined
}

export interface CatalogParts {
  readonly images: ImageStore
  readonly references: ReferenceStore
  readonly containers: ContainerStore
  readonly layers: LayerStore
  readonly lockFile: string
  /** The directory for copies of archives. It need not exist. */
  readonly temporary: string
}

/** Capacity of the cache of images' chains, which keeps those of removed images. */
const MANY = 10_000

/**
 * The contents of a store: images, their names, their layers, and the containers on them.
 *
 * 1. An image is stored after all of its layers. Names point at it after that.
 * 2. Names are removed before the image, and the image before its layers.
 * 3. These steps run under the catalog's lock, which is never held while a layer is read or written.
 */
export class Catalog {
  readonly images: ImageStore
  readonly references: ReferenceStore
  readonly containers: ContainerStore
  readonly layers: LayerStore
  readonly temporary: string
  readonly #lockFile: string
  readonly #chains = new Map<ImageID, readonly ChainID[]>()

  constructor({ images, references, containers, layers, lockFile, temporary }: CatalogParts) {
    this.images = images
    this.references = references
    this.containers = containers
    this.layers = layers
    this.temporary = temporary
    this.#lockFile = lockFile
  }

  async list(): Promise<Image[]> {
    const references = await this.references.all()
    const ids = await this.images.list()
    const images = await fewAtATime(ids, (id) => this.#describeIfThere(id, references.get(id) ?? []))
    return images.filter((image) => image !== undefined)
  }

  /** By reference, by ID, or by a prefix of an ID. Rejects with `IMAGE_NOT_FOUND` or `REFERENCE_AMBIGUOUS`. */
  async image(referenceOrId: string): Promise<Image> {
    const id = await this.find(referenceOrId)
    return this.#describe(id, (await this.references.all()).get(id) ?? [])
  }

  async find(text: string): Promise<ImageID> {
    if (isDigest(text)) {
      if (await this.images.has(text as ImageID)) return text as ImageID
      throw notFound(text)
    }
    const named = isHexId(text) ? undefined : await this.references.get(parseReference(text))
    if (named !== undefined) return named
    const begun = /^[a-f0-9]{4,64}$/.test(text)
      ? (await this.images.list()).filter((id) => id.startsWith(`sha256:${text}`))
      : []
    if (begun.length > 1) throw new StoreError('REFERENCE_AMBIGUOUS', `several image IDs begin with ${text}`)
    if (begun[0] === undefined) throw notFound(text)
    return begun[0]
  }

  /**
   * The layers of an image, lowest first. Empty for an image that cannot be read. Cached, because the layers of an image
   * ID never change.
   */
  async chainOf(id: ImageID): Promise<readonly ChainID[]> {
    const known = this.#chains.get(id)
    if (known !== undefined) return known
    const config = await this.images.config(id).catch(() => undefined)
    if (config === undefined) return []
    const chain = chainIds(config.rootfs.diff_ids)
    if (this.#chains.size >= MANY) this.#chains.clear()
    this.#chains.set(id, chain)
    return chain
  }

  /** Like `image`, with the parent and the driver's metadata of the top layer. */
  async inspect(referenceOrId: string, driver: Driver): Promise<InspectedImage> {
    const image = await this.image(referenceOrId)
    const top = image.chainId === undefined ? undefined : await this.layers.require(image.chainId)
    const data = top === undefined ? {} : await driver.metadata(top.cacheId)
    return {
      ...image,
      parent: await this.images.parent(image.id),
      graphDriver: { name: driver.name, data },
    }
  }

  /** The top layer of an image. `undefined` for an image without layers. */
  async topLayer(id: ImageID): Promise<ChainID | undefined> {
    return chainIds((await this.images.config(id)).rootfs.diff_ids).at(-1)
  }

  /** The reference in the text, if it names an image by reference and not by ID. */
  async referenceOf(text: string): Promise<Reference | undefined> {
    if (isDigest(text) || isHexId(text)) return undefined
    const reference = withDefaultTag(parseReference(text))
    return (await this.references.get(reference)) === undefined ? undefined : reference
  }

  /** Stores images whose layers exist, and points references at them: all of them, or none. */
  async publish(entries: readonly NewImage[], { onProgress }: OperationOptions): Promise<Image[]> {
    const ids = await this.locked(() => Rollback.guard((rollback) => this.#addAll(entries, rollback)))
    for (const [index, { references }] of entries.entries()) {
      onProgress?.({
        type: 'image:stored',
        id: ids[index] as ImageID,
        references: references.map(familiarText),
      })
    }
    return fewAtATime(ids, (id) => this.image(id))
  }

  async tag(referenceOrId: string, reference: string): Promise<void> {
    const named = withDefaultTag(parseReference(reference))
    await this.locked(async () =>
      this.references.set([{ reference: named, id: await this.find(referenceOrId) }]),
    )
  }

  /** Names of the containers on each image, including those of a dockerd in this root. */
  async containersByImage(images: readonly ImageID[]): Promise<Map<ImageID, string[]>> {
    const records = await this.containers.list()
    const known = new Set(records.map((record) => record.id))
    const others = (await this.layers.writables.list()).filter(({ name }) => !known.has(name))
    const byImage = new Map<ImageID, string[]>()
    for (const id of images) {
      const ours = records.filter(({ image }) => image === id).map(({ name }) => name)
      const top = others.length === 0 ? undefined : await this.topLayer(id)
      const dockers = others.filter(({ parent }) => parent === top).map(({ name }) => name)
      byImage.set(id, [...ours, ...dockers])
    }
    return byImage
  }

  /** Clears what dead processes left unfinished, in every part of the store. */
  async tidy(): Promise<void> {
    await this.layers.tidy((id) => this.containers.has(id))
    await this.forgetRemoved()
    await this.tidyFiles()
  }

  /**
   * Removes records of removed containers. A record is made after its writable layer and removed after it, so a crash
   * during a removal leaves only the record.
   */
  async forgetRemoved(): Promise<void> {
    const records = await this.containers.list()
    const writables = new Set(await this.layers.writables.names())
    for (const { id } of records) {
      if (writables.has(id) || !(await this.layers.writables.isGone(id))) continue
      await this.locked(() => this.containers.remove(id))
    }
  }

  /** Clears temporary files, and metadata of images whose removal a crash interrupted. */
  async tidyFiles(): Promise<void> {
    await this.images.tidy((work) => this.locked(work))
    await this.references.tidy()
    await this.containers.tidy()
    await removeAbandoned(dirname(this.#lockFile))
    await clearLockFiles(dirname(this.#lockFile))
    await removeAbandoned(this.temporary)
  }

  /**
   * Like `locked`, for work that detaches layers. Deletes their content after the lock is released, because that may take
   * long. A later open deletes content that is still in use.
   */
  async lockedRemoval<T>(work: (detached: DetachedLayer[]) => Promise<T>): Promise<T> {
    const detached: DetachedLayer[] = []
    try {
      return await this.locked(() => work(detached))
    } finally {
      await deleteAll(detached)
    }
  }

  async locked<T>(work: () => Promise<T>): Promise<T> {
    makeStoreDirectory(dirname(this.#lockFile), 0o710)
    await using _lock = await Lock.acquire(this.#lockFile)
    return await work()
  }

  async #addAll(entries: readonly NewImage[], rollback: Rollback): Promise<ImageID[]> {
    const before = new Set(await this.images.list())
    const ids: ImageID[] = []
    for (const { config, parent } of entries) {
      // Layers first: a crash in between must not leave an image without layers.
      for (const chain of chainIds(parseImageConfig(config).rootfs.diff_ids)) await this.layers.require(chain)
      const id = sha256<ImageID>(config)
      if (!before.has(id)) rollback.onFailure(() => this.images.remove(id))
      // The config comes last: it makes the image exist, together with its parent.
      if (parent !== undefined && (await this.images.parent(id)) === undefined)
        await this.images.setParent(id, parent)
      ids.push(await this.images.add(config))
    }
    const names = entries.flatMap(({ references }, index) =>
      references.map((reference) => ({ reference, id: ids[index] as ImageID })),
    )
    await this.references.set(names)
    return ids
  }

  /** `undefined` for an image that another process removed after it was listed. */
  async #describeIfThere(id: ImageID, references: readonly string[]): Promise<Image | undefined> {
    try {
      return await this.#describe(id, references)
    } catch (error) {
      if (error instanceof StoreError && error.code === 'IMAGE_NOT_FOUND') return undefined
      throw error
    }
  }

  async #describe(id: ImageID, references: readonly string[]): Promise<Image> {
    const config = await this.images.config(id)
    const chain = chainIds(config.rootfs.diff_ids)
    const layers = await Promise.all(chain.map((link) => this.layers.get(link)))
    return {
      id,
      references,
      config,
      layers: config.rootfs.diff_ids,
      chainId: chain.at(-1),
      size: layers.reduce((sum, layer) => sum + (layer?.size ?? 0), 0),
      created: config.created === undefined ? undefined : new Date(config.created),
      history: config.history ?? [],
    }
  }
}

/** Tries all, then throws the first error. */
async function deleteAll(detached: readonly DetachedLayer[]): Promise<void> {
  const errors: unknown[] = []
  for (const layer of detached) {
    try {
      await layer.delete()
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') errors.push(error)
    }
  }
  if (errors.length > 0) throw errors[0]
}

function isHexId(text: string): boolean {
  return /^[a-f0-9]{64}$/.test(text)
}

function notFound(text: string): StoreError {
  return new StoreError('IMAGE_NOT_FOUND', `no such image: ${text}`)
}
