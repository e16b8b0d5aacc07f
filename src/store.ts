import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { checkArchiveInput, type ArchiveInput } from './archives/archive-files.js'
import type { ArchivedImage } from './archives/archived-image.js'
import { loadLayers } from './archives/load.js'
import { openArchive } from './archives/open-archive.js'
import { repairSource } from './archives/repair-source.js'
import { readImages } from './archives/manifest.js'
import { machinePlatform, parsePlatform } from './archives/platform.js'
import { saveImages, type ArchiveFormat } from './archives/save.js'
import type { SavedImage } from './archives/saved-image.js'
import { Catalog, type NewImage } from './catalog/catalog.js'
import { check, type CheckReport } from './catalog/check.js'
import { consumeContainer, finishConsumptions } from './catalog/consume.js'
import { diskUsage, type DiskUsage } from './catalog/disk-usage.js'
import { prune, type Pruned, type PruneOptions } from './catalog/prune.js'
import { removeImage, removeUnusedLayers, type Removed } from './catalog/removal.js'
import type { CheckOptions as CatalogCheckOptions } from './catalog/repair.js'
import type { Compression } from './compression/compression.js'
import { Container, type CommitContainerOptions, type ContainerHome } from './containers/container.js'
import { ContainerStore, type ContainerRecord } from './containers/container-store.js'
import { chainIds, type ImageID } from './digest.js'
import type { Driver, Engine } from './drivers/driver.js'
import type { DriverRegistry } from './drivers/registry.js'
import { selectDriver, type Refusal } from './drivers/select.js'
import { removeAbandoned } from './durable/abandoned.js'
import { claimFormat } from './durable/format-file.js'
import { makeDirectories, makeStoreDirectory } from './durable/make-directory.js'
import { StoreError } from './errors.js'
import { applyChanges } from './images/config-change.js'
import {
  childConfig,
  encodeConfig,
  flattenedConfig,
  parseImageConfig,
  type HistoryEntry,
  type ImageConfig,
} from './images/image-config.js'
import { ImageStore } from './images/image-store.js'
import type { Image, InspectedImage } from './images/image.js'
import type { Layer } from './layers/layer.js'
import { LayerStore } from './layers/layer-store.js'
import type { OnPinned } from './layers/make-layer.js'
import { resolveLimits, type Limits } from './limits.js'
import type { OperationOptions } from './operation-options.js'
import { parseReference, withDefaultTag, type Reference } from './references/reference.js'
import { ReferenceStore } from './references/reference-store.js'
import { sourceDate } from './source-date.js'

/** Of what this library keeps in `<root>/layerstack`, beside Docker's own files. */
const FORMAT = '1'

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

export interface LoadOptions extends OperationOptions {
  /**
   * Which image of an OCI index that has one for several platforms: `linux/arm64`, `linux/arm/v7`.
   * @default the machine's, else the only one that the archive holds
   */
  readonly platform?: string | undefined
  /** What the archive may ask of this process. Its digests are its own, so a stranger's archive is bounded by these alone. */
  readonly limits?: Limits | undefined
}

export interface SaveOptions extends OperationOptions {
  /** @default 'docker-archive' */
  readonly format?: ArchiveFormat | undefined
  /**
   * Docker's archives are packed as a whole, in OCI layouts each layer is. Docker reads zstd since version 23.
   * @default 'none'
   */
  readonly compression?: Compression | undefined
}

export interface ImportOptions extends OperationOptions {
  readonly reference?: string | undefined
  readonly changes?: readonly string[] | undefined
  readonly message?: string | undefined
  /** What the tar may ask of this process. */
  readonly limits?: Limits | undefined
}

export interface CheckOptions extends CatalogCheckOptions {
  /**
   * With `repair`: an archive as `load` takes it. Damaged and missing layers and configs are unpacked from it again, and
   * put in the place of the damaged ones; containers on them stay. @default nothing is replaced
   */
  readonly from?: ArchiveInput | undefined
  /** What the archive `from` may ask of this process. */
  readonly limits?: Limits | undefined
}

export interface FlattenOptions extends OperationOptions {
  readonly reference?: string | undefined
}

/** Opens a store on a root that any number of processes may share. The caller closes it. */
export async function openStoreWith(registry: DriverRegistry, options: OpenStoreOptions): Promise<Store> {
  const { driver: wanted = 'auto', engine = 'auto', driverOptions, readOnly = false } = options
  const root = resolve(options.root)
  await claimFormat(join(root, 'layerstack', 'format'), FORMAT, true)
  if (!readOnly) makeDirectories(root, 0o711)
  const { driver, refused } =
    typeof wanted === 'string'
      ? await selectDriver(registry, { driver: wanted, root, engine, driverOptions, readOnly })
      : { driver: wanted, refused: [] }
  const store = new Store(root, driver, refused, readOnly)
  if (readOnly) return store
  await store.recover()
  await claimFormat(join(root, 'layerstack', 'format'), FORMAT, false)
  return store
}

/** A content-addressed store of images, their layers and containers. */
export class Store implements AsyncDisposable, ContainerHome {
  readonly root: string
  readonly driver: Driver
  /** Drivers that `auto` would have preferred, and why each was not taken. */
  readonly refused: readonly Refusal[]
  readonly layers: LayerStore
  readonly #catalog: Catalog
  readonly #readOnly: boolean
  #closed = false

  constructor(root: string, driver: Driver, refused: readonly Refusal[], readOnly: boolean) {
    const imageDirectory = join(root, 'image', driver.name)
    this.root = root
    this.driver = driver
    this.refused = refused
    this.layers = new LayerStore({ root, driver, readOnly })
    this.#catalog = new Catalog({
      images: new ImageStore(imageDirectory),
      references: new ReferenceStore(imageDirectory),
      containers: new ContainerStore(
        join(root, 'layerstack', 'containers', driver.name),
        join(root, 'containers'),
      ),
      layers: this.layers,
      lockFile: join(root, 'layerstack', 'images.lock'),
    })
    this.#readOnly = readOnly
  }

  /**
   * Loads a docker-archive, an OCI archive or an OCI layout directory; plain, gzip or zstd. Layers that are here already
   * are not read.
   */
  async load(input: ArchiveInput, options: LoadOptions = {}): Promise<Image[]> {
    this.#mayWrite()
    checkArchiveInput(input)
    const platform = options.platform === undefined ? undefined : parsePlatform(options.platform)
    const { signal } = options
    const limits = resolveLimits(options.limits)
    makeStoreDirectory(this.#temporary, 0o700)
    await using files = await openArchive(input, this.#temporary, { limits, signal })
    const archived = await readImages(files, { platform, limits, signal })
    const images = archived.map(newImage)
    const chains = archived.map(({ config }) => chainIds(config.rootfs.diff_ids))
    try {
      await using _pin = await this.layers.pin(chains.flat())
      await loadLayers(this.layers, files, archived, { ...options, limits })
      return await this.#catalog.publish(images, options)
    } catch (error) {
      await this.#catalog.lockedRemoval(async (detached) => {
        for (const chain of chains) await removeUnusedLayers(this.#catalog, chain, detached)
      })
      options.signal?.throwIfAborted()
      throw error
    }
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
      const id = await this.#catalog.find(text)
      const reference = await this.#catalog.referenceOf(text)
      const named = reference?.digest === undefined ? reference : undefined
      const before = images.get(id)
      images.set(id, {
        configBytes: await this.#catalog.images.bytes(id),
        config: await this.#catalog.images.config(id),
        references: [...(before?.references ?? []), ...(named === undefined ? [] : [named])],
      })
    }
    const { format = 'docker-archive', compression = 'none' } = options
    await saveImages(this.layers, [...images.values()], output, { ...options, format, compression })
  }

  /** Makes an image of one layer of a root filesystem's tar, plain or packed, as `docker import`. */
  async import(rootfs: ArchiveInput, options: ImportOptions = {}): Promise<Image> {
    this.#mayWrite()
    checkArchiveInput(rootfs)
    const edited = applyChanges({}, options.changes ?? [])
    const references = referencesOf(options)
    const limits = resolveLimits(options.limits)
    const source = typeof rootfs === 'string' ? { path: rootfs } : { chunks: rootfs }
    const empty: ImageConfig = {
      architecture: machinePlatform().architecture,
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [] },
    }
    return this.#publishMade(options, async (onPinned) => {
      const layer = await this.layers.register(source, { ...options, limits, onPinned })
      const config = childConfig(empty, {
        diffId: layer.diffId,
        config: edited,
        created: now(),
        createdBy: '',
        comment: options.message ?? 'Imported from -',
      })
      return { config: encodeConfig(config), references }
    })
  }

  async images(): Promise<Image[]> {
    this.#open()
    return this.#catalog.list()
  }

  /** By reference, by ID, or by the beginning of one. Throws `IMAGE_NOT_FOUND`, `REFERENCE_AMBIGUOUS`. */
  async image(referenceOrId: string): Promise<Image> {
    this.#open()
    return this.#catalog.image(referenceOrId)
  }

  async inspect(referenceOrId: string): Promise<InspectedImage> {
    const image = await this.image(referenceOrId)
    const top = image.chainId === undefined ? undefined : await this.layers.require(image.chainId)
    return {
      ...image,
      parent: await this.#catalog.images.parent(image.id),
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
    await this.#catalog.tag(referenceOrId, reference)
  }

  /**
   * Removes as `docker rmi`: one of several names alone; the image with its last name, and what only it needed. An image
   * that a container stands on is `IMAGE_IN_USE`, whatever `force` says; by ID, one with several names is
   * `REFERENCE_CONFLICT`, and `force` removes all of them.
   */
  async remove(
    referenceOrId: string,
    { force = false }: { readonly force?: boolean } = {},
  ): Promise<Removed> {
    this.#mayWrite()
    return removeImage(this.#catalog, referenceOrId, force)
  }

  /** Makes an image of one layer, with the same config, of all layers of another. */
  async flatten(referenceOrId: string, options: FlattenOptions = {}): Promise<Image> {
    this.#mayWrite()
    const references = referencesOf(options)
    const parent = await this.image(referenceOrId)
    if (parent.chainId === undefined)
      throw new StoreError('LAYER_MISSING', `image ${parent.id} has no layers`)
    const { chainId } = parent
    return this.#publishMade(options, async (onPinned) => {
      const layer = await this.layers.flatten(chainId, { ...options, onPinned })
      const config = flattenedConfig(parent.config, {
        diffId: layer.diffId,
        config: parent.config.config ?? {},
        created: now(),
        createdBy: '',
        comment: `flattened ${parent.layers.length} layers of ${parent.id}`,
      })
      return { config: encodeConfig(config), references }
    })
  }

  /** Makes a container, and mounts it. */
  async createContainer(
    referenceOrId: string,
    options: { readonly name?: string; readonly storageOptions?: Readonly<Record<string, string>> } = {},
  ): Promise<Container> {
    this.#mayWrite()
    const image = await this.#catalog.find(referenceOrId)
    const top = await this.#catalog.topLayer(image)
    const id = randomBytes(32).toString('hex')
    const record: ContainerRecord = {
      id,
      name: options.name ?? id.slice(0, 12),
      image,
      created: now(),
    }
    const makeKnown = () =>
      this.#catalog.locked(async () => {
        await this.#catalog.find(image)
        await this.#catalog.containers.add(record)
      })
    await this.layers.writables.create(id, top, options.storageOptions, makeKnown)
    try {
      return await Container.open(this, record)
    } catch (error) {
      // Where it cannot be removed, it is a container without a mount.
      await this.removeContainer(record).catch(() => undefined)
      throw error
    }
  }

  /** Mounts a container that is there: by name, by id, or by the beginning of one. */
  async container(idOrName: string): Promise<Container> {
    this.#open()
    const { containers } = this.#catalog
    if (!this.#readOnly) await this.#settle((await containers.find(idOrName)).id)
    const record = await containers.find(idOrName)
    return asContainer(record, Container.open(this, record))
  }

  async containers(): Promise<readonly ContainerRecord[]> {
    this.#open()
    return this.#catalog.containers.list()
  }

  /** Rows as `docker info` shows them for storage. */
  async status(): Promise<[key: string, value: string][]> {
    this.#open()
    return [['Storage Driver', this.driver.name], ...(await this.driver.status())]
  }

  /** What takes how much space, as `docker system df`. */
  async diskUsage(options: OperationOptions = {}): Promise<DiskUsage> {
    this.#open()
    return diskUsage(this.#catalog, options)
  }

  /** Removes what nobody named and nothing needs, as `docker image prune`. */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    this.#mayWrite()
    await removeAbandoned(this.#temporary)
    return prune(this.#catalog, options)
  }

  /**
   * Looks for damage everywhere. `repair` mends what it can without losing anything, `from` gives it an archive to take
   * damaged layers from, and `discard` lets it remove what cannot be mended.
   */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    const { from, repair = false, discard = false } = options
    if (!repair && (from !== undefined || discard)) {
      throw new TypeError('check() takes `from` and `discard` together with `repair: true`')
    }
    if (repair) this.#mayWrite()
    this.#open()
    if (from === undefined) return check(this.#catalog, options)
    checkArchiveInput(from)
    makeStoreDirectory(this.#temporary, 0o700)
    const opening = { limits: resolveLimits(options.limits), signal: options.signal }
    await using files = await openArchive(from, this.#temporary, opening)
    const source = await repairSource(files, opening)
    return check(this.#catalog, options, source)
  }

  /** Gives back all views. May be called twice, also where it failed. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.driver.cleanup()
    } catch (error) {
      this.#closed = false
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal What processes that died left half done. */
  async recover(): Promise<void> {
    const { containers } = this.#catalog
    await finishConsumptions(this.#catalog)
    await this.layers.open((id) => containers.has(id))
    await this.#catalog.forgetRemoved()
    await this.#catalog.tidyFiles()
    await removeAbandoned(this.#temporary)
  }

  /** @internal for `Container` */
  async commit(record: ContainerRecord, options: CommitContainerOptions): Promise<Image> {
    this.#mayWrite()
    const finished = await this.#settle(record.id)
    if (finished !== undefined && options.consume === true) return finished
    const parent = await this.#catalog.images.config(record.image)
    const edited = applyChanges(parent.config ?? {}, options.changes ?? [])
    const references = referencesOf(options)
    const imageOf = ({ diffId }: Pick<Layer, 'diffId'>): NewImage => {
      const config = childConfig(parent, {
        diffId,
        config: edited,
        created: now(),
        createdBy: '',
        author: options.author,
        comment: options.message,
      })
      return { config: encodeConfig(config), references, parent: record.image }
    }
    if (options.consume === true)
      return asContainer(record, consumeContainer(this.#catalog, record, imageOf, options))
    return this.#publishMade(options, async (onPinned) =>
      imageOf(await asContainer(record, this.layers.commits.commit(record.id, { ...options, onPinned }))),
    )
  }

  /** @internal for `Container` */
  async removeContainer(record: ContainerRecord): Promise<void> {
    this.#mayWrite()
    await this.#settle(record.id)
    const forget = () => this.#catalog.locked(() => this.#catalog.containers.remove(record.id))
    await asContainer(record, this.layers.writables.remove(record.id, forget))
  }

  /** Finishes a commit that consumes the container, if one was decided and cut short. */
  async #settle(id: string): Promise<Image | undefined> {
    if (!this.layers.consumptions.has(id)) return undefined
    return (await finishConsumptions(this.#catalog)).get(id)
  }

  /**
   * Stores the image of a layer that `make` makes and pins. If that fails, the layer is removed, since no image would name
   * it.
   */
  async #publishMade(
    options: OperationOptions,
    make: (onPinned: OnPinned) => Promise<NewImage>,
  ): Promise<Image> {
    const pins: AsyncDisposable[] = []
    let made: NewImage | undefined
    try {
      made = await make((pin) => pins.push(pin))
      const [image] = await this.#catalog.publish([made], options)
      return image as Image
    } catch (error) {
      await unpin(pins)
      if (made !== undefined) {
        const { rootfs } = parseImageConfig(made.config)
        const chain = chainIds(rootfs.diff_ids)
        await this.#catalog.lockedRemoval((detached) => removeUnusedLayers(this.#catalog, chain, detached))
      }
      throw error
    } finally {
      await unpin(pins)
    }
  }

  /** Of copies that a load makes. */
  get #temporary(): string {
    return join(this.root, 'layerstack', 'tmp')
  }

  #open(): void {
    if (this.#closed) throw new StoreError('STORE_CLOSED', 'the store is closed')
  }

  #mayWrite(): void {
    this.#open()
    if (this.#readOnly) throw new StoreError('STORE_READ_ONLY', 'the store is open read-only')
  }
}

async function unpin(pins: AsyncDisposable[]): Promise<void> {
  for (const pin of pins.splice(0)) await pin[Symbol.asyncDispose]()
}

function newImage({ configBytes, references }: ArchivedImage): NewImage {
  return {
    config: configBytes,
    references: references.map((text) => withDefaultTag(parseReference(text))),
  }
}

async function asContainer<T>({ name }: ContainerRecord, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
    throw new StoreError('CONTAINER_IN_USE', `container ${name} is in use elsewhere`, {
      cause: error,
      hint: 'unmount it there, or wait for its commit',
    })
  }
}

function referencesOf({ reference }: { readonly reference?: string | undefined }): Reference[] {
  return reference === undefined ? [] : [withDefaultTag(parseReference(reference))]
}

/** RFC 3339; `SOURCE_DATE_EPOCH` stands for the clock where it is set. */
function now(): string {
  return (sourceDate() ?? new Date()).toISOString()
}
