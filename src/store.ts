import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { checkArchiveInput, type ArchiveInput } from './archives/archive-files.js'
import { checkStore, type CheckOptions } from './archives/check-store.js'
import { loadImages, type LoadOptions } from './archives/load-images.js'
import { saveReferences, type SaveOptions } from './archives/save-references.js'
import { Catalog } from './catalog/catalog.js'
import type { CheckReport } from './catalog/check.js'
import { finishConsumptions } from './catalog/consume.js'
import { Containers, type CreateContainerOptions } from './catalog/containers.js'
import { diskUsage, type DiskUsage } from './catalog/disk-usage.js'
import { flattenImage, importImage, type FlattenOptions, type ImportOptions } from './catalog/make-image.js'
import { prune, type Pruned, type PruneOptions } from './catalog/prune.js'
import { removeImage, type Removed } from './catalog/removal.js'
import { infoOf, type Container, type ContainerInfo } from './containers/container.js'
import { ContainerStore } from './containers/container-store.js'
import type { Driver } from './drivers/driver.js'
import type { Refusal } from './drivers/select.js'
import { removeAbandoned } from './durable/abandoned.js'
import { StoreError } from './errors.js'
import type { HistoryEntry } from './images/image-config.js'
import { ImageStore } from './images/image-store.js'
import type { Image, InspectedImage } from './images/image.js'
import { LayerStore } from './layers/layer-store.js'
import type { OperationOptions } from './operation-options.js'
import { ReferenceStore } from './references/reference-store.js'

/** A content-addressed store of images, their layers and containers. */
export class Store implements AsyncDisposable {
  readonly root: string
  readonly driver: Driver
  /** Drivers that `auto` would have preferred, and why each was refused. */
  readonly refused: readonly Refusal[]
  readonly layers: LayerStore
  readonly #catalog: Catalog
  readonly #containers: Containers
  readonly #readOnly: boolean
  /** For copies that a load makes. */
  readonly #temporary: string
  #closed = false

  constructor(root: string, driver: Driver, refused: readonly Refusal[], readOnly: boolean) {
    const imageDirectory = join(root, 'image', driver.name)
    const records = join(root, 'layerstack', 'containers', driver.name)
    this.root = root
    this.driver = driver
    this.refused = refused
    this.layers = new LayerStore({ root, driver, readOnly })
    this.#catalog = new Catalog({
      images: new ImageStore(imageDirectory),
      references: new ReferenceStore(imageDirectory),
      containers: new ContainerStore(records, join(root, 'containers')),
      layers: this.layers,
      lockFile: join(root, 'layerstack', 'images.lock'),
    })
    this.#containers = new Containers(this.#catalog, () => this.#mayWrite())
    this.#readOnly = readOnly
    this.#temporary = join(root, 'layerstack', 'tmp')
  }

  /**
   * Loads a docker-archive, an OCI archive or an OCI layout directory; plain, gzip or zstd. Layers that exist are not read
   * again.
   */
  async load(input: ArchiveInput, options: LoadOptions = {}): Promise<Image[]> {
    this.#mayWrite()
    return loadImages(this.#catalog, input, this.#temporary, options)
  }

  /** Writes images, by reference or ID, with all their layers, byte for byte as they came. */
  async save(
    references: string | readonly string[],
    output: string | Writable,
    options: SaveOptions = {},
  ): Promise<void> {
    this.#open()
    const wanted = typeof references === 'string' ? [references] : references
    await saveReferences(this.#catalog, wanted, output, options)
  }

  /** Makes an image of one layer from a root filesystem's tar, plain or compressed, as `docker import`. */
  async import(rootfs: ArchiveInput, options: ImportOptions = {}): Promise<Image> {
    this.#mayWrite()
    checkArchiveInput(rootfs)
    return importImage(
      this.#catalog,
      typeof rootfs === 'string' ? { path: rootfs } : { chunks: rootfs },
      options,
    )
  }

  async images(): Promise<Image[]> {
    this.#open()
    return this.#catalog.list()
  }

  /** By reference, by ID, or by a prefix of an ID. Rejects with `IMAGE_NOT_FOUND` or `REFERENCE_AMBIGUOUS`. */
  async image(referenceOrId: string): Promise<Image> {
    this.#open()
    return this.#catalog.image(referenceOrId)
  }

  async inspect(referenceOrId: string): Promise<InspectedImage> {
    this.#open()
    return this.#catalog.inspect(referenceOrId, this.driver)
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
   * that a container stands on is `IMAGE_IN_USE`, whatever `force` says. By ID, an image with several names is
   * `REFERENCE_CONFLICT`, unless `force` removes them all.
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
    return flattenImage(this.#catalog, referenceOrId, options)
  }

  /** Makes a container, and mounts it. */
  async createContainer(referenceOrId: string, options: CreateContainerOptions = {}): Promise<Container> {
    this.#mayWrite()
    return this.#containers.create(referenceOrId, options)
  }

  /** Mounts an existing container: by name, by id, or by a prefix of an id. */
  async openContainer(idOrName: string): Promise<Container> {
    this.#open()
    return this.#containers.open(idOrName, { readOnly: this.#readOnly })
  }

  async containers(): Promise<readonly ContainerInfo[]> {
    this.#open()
    return (await this.#catalog.containers.list()).map(infoOf)
  }

  /** Rows as `docker info` shows them for storage. */
  async status(): Promise<[key: string, value: string][]> {
    this.#open()
    return [['Storage Driver', this.driver.name], ...(await this.driver.status())]
  }

  /** Reports what uses how much space, as `docker system df`. */
  async diskUsage(options: OperationOptions = {}): Promise<DiskUsage> {
    this.#open()
    return diskUsage(this.#catalog, options)
  }

  /** Removes images without a name that nothing needs, as `docker image prune`. */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    this.#mayWrite()
    await removeAbandoned(this.#temporary)
    return prune(this.#catalog, options)
  }

  /**
   * Looks for damage everywhere. `repair` repairs what it can without losing data. `from` gives it an archive to replace
   * damaged layers from. `discard` lets it remove what cannot be repaired.
   */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    this.#open()
    if (options.repair === true) this.#mayWrite()
    return checkStore(this.#catalog, this.#temporary, options)
  }

  /** Closes all views. May be called twice, also after a failure. */
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

  /** @internal Finishes or clears what dead processes left unfinished. */
  async recover(): Promise<void> {
    const { containers } = this.#catalog
    await finishConsumptions(this.#catalog)
    await this.layers.open((id) => containers.has(id))
    await this.#catalog.forgetRemoved()
    await this.#catalog.tidyFiles()
    await removeAbandoned(this.#temporary)
  }

  #open(): void {
    if (this.#closed) throw new StoreError('STORE_CLOSED', 'the store is closed')
  }

  #mayWrite(): void {
    this.#open()
    if (this.#readOnly) throw new StoreError('STORE_READ_ONLY', 'the store is open read-only')
  }
}
