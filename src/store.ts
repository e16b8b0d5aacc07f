import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import fse from 'fs-extra'
import { openArchive, type ArchiveInput } from './archives/archive-files.js'
import { loadLayers } from './archives/load.js'
import { readImages, type ArchivedImage } from './archives/manifest.js'
import { saveImages, type ArchiveFormat, type SavedImage } from './archives/save.js'
import { Container, type CommitContainerOptions, type ContainerHome } from './containers/container.js'
import { ContainerStore, type ContainerRecord } from './containers/container-store.js'
import { chainIds, isDigest, type ImageID } from './digest.js'
import type { Driver, Engine } from './drivers/driver.js'
import type { DriverRegistry } from './drivers/registry.js'
import { selectDriver, type Refusal } from './drivers/select.js'
import { Lock } from './durable/lock.js'
import { StoreError } from './errors.js'
import { applyChanges } from './images/config-change.js'
import {
  childConfig,
  encodeConfig,
  flattenedConfig,
  type HistoryEntry,
  type ImageConfig,
} from './images/image-config.js'
import { ImageStore } from './images/image-store.js'
import type { Image, InspectedImage } from './images/image.js'
import { LayerStore } from './layers/layer-store.js'
import type { OperationOptions } from './operation.js'
import {
  canonicalText,
  familiarText,
  parseReference,
  withDefaultTag,
  type Reference,
} from './references/reference.js'
import { ReferenceStore } from './references/reference-store.js'

export interface OpenStoreOptions {
  /** The data root, as dockerd's `--data-root`. It is made if it is not there. */
  readonly root: string
  /** A driver's name, `auto`, or a driver of one's own. @default 'auto' */
  readonly driver?: string | Driver | undefined
  /** @default 'auto' */
  readonly engine?: Engine | 'auto' | undefined
  readonly driverOptions?: Readonly<Record<string, unknown>> | undefined
  /** Nothing is written below the root; calls that would are `STORE_READ_ONLY`. @default false */
  readonly readOnly?: boolean | undefined
}

export interface SaveOptions extends OperationOptions {
  /** @default 'docker-archive' */
  readonly format?: ArchiveFormat | undefined
}

export interface ImportOptions extends OperationOptions {
  readonly reference?: string | undefined
  readonly changes?: readonly string[] | undefined
  readonly message?: string | undefined
}

export interface FlattenOptions extends OperationOptions {
  readonly reference?: string | undefined
}

/** Opens a store on a root that any number of processes may share. The caller closes it. */
export async function openStoreWith(registry: DriverRegistry, options: OpenStoreOptions): Promise<Store> {
  const { driver: wanted = 'auto', engine = 'auto', driverOptions, readOnly = false } = options
  const root = resolve(options.root)
  if (!readOnly) await mkdir(root, { recursive: true, mode: 0o711 })
  const { driver, refused } =
    typeof wanted === 'string'
      ? await selectDriver(registry, { driver: wanted, root, engine, driverOptions, readOnly })
      : { driver: wanted, refused: [] }
  const store = new Store(root, driver, refused, readOnly)
  await store.layers.open()
  return store
}

/** A content-addressed store of images, their layers and containers. */
export class Store implements AsyncDisposable, ContainerHome {
  readonly root: string
  readonly driver: Driver
  /** Drivers that `auto` would have preferred, and why each was not taken. */
  readonly refused: readonly Refusal[]
  readonly layers: LayerStore
  readonly #images: ImageStore
  readonly #references: ReferenceStore
  readonly #containers: ContainerStore
  readonly #lockFile: string
  readonly #readOnly: boolean
  #closed = false

  constructor(root: string, driver: Driver, refused: readonly Refusal[], readOnly: boolean) {
    const imageDirectory = join(root, 'image', driver.name)
    this.root = root
    this.driver = driver
    this.refused = refused
    this.layers = new LayerStore({ root, driver, readOnly })
    this.#images = new ImageStore(imageDirectory)
    this.#references = new ReferenceStore(imageDirectory)
    this.#containers = new ContainerStore(join(root, 'layerstack', 'containers'))
    this.#lockFile = join(root, 'layerstack', 'images.lock')
    this.#readOnly = readOnly
  }

  /** Loads a docker-archive, an OCI archive or an OCI layout directory; plain, gzip or zstd. */
  async load(input: ArchiveInput, options: OperationOptions = {}): Promise<Image[]> {
    this.#mayWrite()
    const temporary = join(this.root, 'layerstack', 'tmp')
    await fse.ensureDir(temporary)
    await using files = await openArchive(input, temporary, options.signal)
    const archived = await readImages(files)
    for (const image of archived) await loadLayers(this.layers, files, image, options)
    const loaded: Image[] = []
    for (const image of archived) loaded.push(await this.#addLoaded(image, options))
    return loaded
  }

  /** Writes images, by reference or ID, with all their layers, byte for byte as they came. */
  async save(
    references: string | readonly string[],
    output: string | Writable,
    options: SaveOptions = {},
  ): Promise<void> {
    this.#open()
    const wanted = typeof references === 'string' ? [references] : references
    const images = new Map<ImageID, SavedImage>()
    for (const text of wanted) {
      const id = await this.#resolve(text)
      const named = await this.#named(text)
      const before = images.get(id)
      images.set(id, {
        configBytes: await this.#images.bytes(id),
        config: await this.#images.config(id),
        references: [...(before?.references ?? []), ...(named === undefined ? [] : [named])],
      })
    }
    await saveImages(this.layers, [...images.values()], output, options.format ?? 'docker-archive', options)
  }

  /** Makes an image of one layer of a root filesystem's tar, plain or packed, as `docker import`. */
  async import(rootfs: ArchiveInput, options: ImportOptions = {}): Promise<Image> {
    this.#mayWrite()
    const source = typeof rootfs === 'string' ? { path: rootfs } : { chunks: rootfs }
    const layer = await this.layers.register(source, options)
    const created = now()
    const empty: ImageConfig = {
      architecture: architecture(),
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [] },
    }
    const config = childConfig(empty, {
      diffId: layer.diffId,
      config: applyChanges({}, options.changes ?? []),
      created,
      createdBy: '',
      comment: options.message ?? 'Imported from -',
    })
    return this.#add(config, options.reference, undefined, options)
  }

  async images(): Promise<Image[]> {
    this.#open()
    const references = await this.#references.all()
    const ids = await this.#images.list()
    return Promise.all(ids.map((id) => this.#image(id, references.get(id) ?? [])))
  }

  /** By reference, by ID, or by the beginning of one. Throws `IMAGE_NOT_FOUND`, `REFERENCE_AMBIGUOUS`. */
  async image(referenceOrId: string): Promise<Image> {
    this.#open()
    const id = await this.#resolve(referenceOrId)
    return this.#image(id, (await this.#references.all()).get(id) ?? [])
  }

  async inspect(referenceOrId: string): Promise<InspectedImage> {
    const image = await this.image(referenceOrId)
    const top = image.chainId === undefined ? undefined : await this.layers.require(image.chainId)
    return {
      ...image,
      parent: await this.#images.parent(image.id),
      graphDriver: {
        name: this.driver.name,
        data: top === undefined ? {} : await this.driver.metadata(top.cacheId),
      },
    }
  }

  async history(referenceOrId: string): Promise<readonly HistoryEntry[]> {
    return (await this.image(referenceOrId)).history
  }

  async tag(referenceOrId: string, reference: string): Promise<void> {
    this.#mayWrite()
    const id = await this.#resolve(referenceOrId)
    const named = withDefaultTag(parseReference(reference))
    await this.#locked(() => this.#references.set([{ reference: named, id }]))
  }

  /**
   * Removes as `docker rmi`: one of several names alone; the image with its last name, and its layers as far as no other
   * image or container needs them. An image that a container stands on is `IMAGE_IN_USE`; by ID, one with several names
   * is `REFERENCE_CONFLICT`; `force` removes all names, but never what a container stands on.
   */
  async remove(referenceOrId: string, { force = false }: { readonly force?: boolean } = {}): Promise<void> {
    this.#mayWrite()
    await this.#locked(async () => {
      const id = await this.#resolve(referenceOrId)
      const names = (await this.#references.all()).get(id) ?? []
      const named = await this.#named(referenceOrId)
      if (named !== undefined && names.length > 1 && !force) {
        await this.#references.delete([parseReference(referenceOrId)])
        return
      }
      if (named === undefined && names.length > 1 && !force) {
        throw new StoreError('REFERENCE_CONFLICT', `image ${id} has several names: ${names.join(', ')}`, {
          hint: 'remove the names one by one, or use force',
        })
      }
      const user = (await this.#containers.list()).find(({ image }) => image === id)
      if (user !== undefined)
        throw new StoreError('IMAGE_IN_USE', `container ${user.name} stands on image ${id}`)
      const config = await this.#images.config(id)
      await this.#references.delete(names.map(parseReference))
      await this.#images.remove(id)
      await this.#removeUnusedLayers(config)
    })
  }

  /** Makes an image of one layer, with the same config, of all layers of another. */
  async flatten(referenceOrId: string, options: FlattenOptions = {}): Promise<Image> {
    this.#mayWrite()
    const parent = await this.image(referenceOrId)
    if (parent.chainId === undefined)
      throw new StoreError('LAYER_MISSING', `image ${parent.id} has no layers`)
    const layer = await this.layers.flatten(parent.chainId, options)
    const config = flattenedConfig(parent.config, {
      diffId: layer.diffId,
      config: parent.config.config ?? {},
      created: now(),
      createdBy: '',
      comment: `flattened ${parent.layers.length} layers of ${parent.id}`,
    })
    return this.#add(config, options.reference, undefined, options)
  }

  /** Makes a container, and opens it. */
  async createContainer(
    referenceOrId: string,
    options: { readonly name?: string; readonly storageOptions?: Readonly<Record<string, string>> } = {},
  ): Promise<Container> {
    this.#mayWrite()
    const image = await this.image(referenceOrId)
    const id = randomBytes(32).toString('hex')
    const record: ContainerRecord = {
      id,
      name: options.name ?? id.slice(0, 12),
      image: image.id,
      created: now(),
    }
    await this.layers.createWritable(id, image.chainId, options.storageOptions)
    try {
      await this.#locked(() => this.#containers.add(record))
      return await Container.open(this, record)
    } catch (error) {
      await this.#containers.remove(id)
      await this.layers.removeWritable(id)
      throw error
    }
  }

  /** Opens a container that is there. */
  async container(idOrName: string): Promise<Container> {
    this.#open()
    return Container.open(this, await this.#containers.find(idOrName))
  }

  async containers(): Promise<readonly ContainerRecord[]> {
    this.#open()
    return this.#containers.list()
  }

  /** Rows as `docker info` shows them for storage. */
  async status(): Promise<[key: string, value: string][]> {
    this.#open()
    return [['Storage Driver', this.driver.name], ...(await this.driver.status())]
  }

  /** Gives back all views. May be called twice. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.driver.cleanup()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal for `Container` */
  async commit(record: ContainerRecord, options: CommitContainerOptions): Promise<Image> {
    this.#mayWrite()
    const parent = await this.#images.config(record.image)
    const edited = applyChanges(parent.config ?? {}, options.changes ?? [])
    if (options.reference !== undefined) parseReference(options.reference)
    const layer = await this.layers.commit(record.id, options)
    const config = childConfig(parent, {
      diffId: layer.diffId,
      config: edited,
      created: now(),
      createdBy: '',
      author: options.author,
      comment: options.message,
    })
    const image = await this.#add(config, options.reference, record.image, options)
    if (options.consume === true) await this.#locked(() => this.#containers.remove(record.id))
    return image
  }

  /** @internal for `Container` */
  async removeContainer(record: ContainerRecord): Promise<void> {
    this.#mayWrite()
    try {
      await this.layers.removeWritable(record.id)
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
      throw new StoreError('CONTAINER_IN_USE', `container ${record.name} is mounted elsewhere`, {
        cause: error,
        hint: 'unmount it there first',
      })
    }
    await this.#locked(() => this.#containers.remove(record.id))
  }

  async #addLoaded(archived: ArchivedImage, options: OperationOptions): Promise<Image> {
    const references = archived.references.map((text) => withDefaultTag(parseReference(text)))
    return this.#publish(archived.configBytes, references, undefined, options)
  }

  #add(
    config: ImageConfig,
    reference: string | undefined,
    parent: ImageID | undefined,
    options: OperationOptions,
  ): Promise<Image> {
    const references = reference === undefined ? [] : [withDefaultTag(parseReference(reference))]
    return this.#publish(encodeConfig(config), references, parent, options)
  }

  async #publish(
    bytes: Uint8Array,
    references: readonly Reference[],
    parent: ImageID | undefined,
    options: OperationOptions,
  ): Promise<Image> {
    const id = await this.#locked(async () => {
      const added = await this.#images.add(bytes)
      for (const chain of chainIds((await this.#images.config(added)).rootfs.diff_ids))
        await this.layers.require(chain)
      if (parent !== undefined) await this.#images.setParent(added, parent)
      await this.#references.set(references.map((reference) => ({ reference, id: added })))
      return added
    })
    options.onProgress?.({ type: 'image:stored', id, references: references.map(familiarText) })
    return this.image(id)
  }

  async #image(id: ImageID, references: readonly string[]): Promise<Image> {
    const config = await this.#images.config(id)
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

  async #resolve(text: string): Promise<ImageID> {
    if (isDigest(text)) {
      if (await this.#images.has(text as ImageID)) return text as ImageID
      throw notFound(text)
    }
    const named = /^[a-f0-9]{64}$/.test(text) ? undefined : await this.#references.get(parseReference(text))
    if (named !== undefined) return named
    const begun = /^[a-f0-9]{4,64}$/.test(text)
      ? (await this.#images.list()).filter((id) => id.startsWith(`sha256:${text}`))
      : []
    if (begun.length > 1) throw new StoreError('REFERENCE_AMBIGUOUS', `several images begin with ${text}`)
    if (begun[0] === undefined) throw notFound(text)
    return begun[0]
  }

  /** How an archive names the image, if the text names it by reference. */
  async #named(text: string): Promise<SavedImage['references'][number] | undefined> {
    if (isDigest(text) || /^[a-f0-9]{64}$/.test(text)) return undefined
    const reference = withDefaultTag(parseReference(text))
    if ((await this.#references.get(reference)) === undefined || reference.digest !== undefined)
      return undefined
    return {
      familiar: familiarText(reference),
      canonical: canonicalText(reference),
      tag: reference.tag ?? '',
    }
  }

  async #removeUnusedLayers(config: ImageConfig): Promise<void> {
    const used = new Set<string>()
    for (const id of await this.#images.list()) {
      for (const chain of chainIds((await this.#images.config(id)).rootfs.diff_ids)) used.add(chain)
    }
    for (const chain of chainIds(config.rootfs.diff_ids).toReversed()) {
      if (used.has(chain)) return
      try {
        await this.layers.remove(chain)
      } catch (error) {
        if (error instanceof StoreError && ['LAYER_IN_USE', 'LAYER_NOT_FOUND'].includes(error.code)) return
        throw error
      }
    }
  }

  async #locked<T>(work: () => Promise<T>): Promise<T> {
    await fse.ensureDir(join(this.root, 'layerstack'))
    await using _lock = await Lock.acquire(this.#lockFile)
    return await work()
  }

  #open(): void {
    if (this.#closed) throw new StoreError('STORE_CLOSED', 'the store is closed')
  }

  #mayWrite(): void {
    this.#open()
    if (this.#readOnly) throw new StoreError('STORE_READ_ONLY', 'the store is open read-only')
  }
}

/** RFC 3339; `SOURCE_DATE_EPOCH` stands for the clock where it is set. */
function now(): string {
  const epoch = process.env['SOURCE_DATE_EPOCH']
  return (epoch === undefined ? new Date() : new Date(Number(epoch) * 1000)).toISOString()
}

function architecture(): string {
  return process.arch === 'x64' ? 'amd64' : process.arch
}

function notFound(text: string): StoreError {
  return new StoreError('IMAGE_NOT_FOUND', `there is no image ${text}`)
}
