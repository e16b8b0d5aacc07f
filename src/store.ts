import type { Writable } from 'node:stream'
import { checkArchiveInput, type ArchiveInput } from './archives/archive-files.js'
import { checkStore, type CheckOptions } from './archives/check-store.js'
import { loadImages, type LoadOptions } from './archives/load-images.js'
import { saveReferences, type SaveOptions } from './archives/save-references.js'
import type { Catalog } from './catalog/catalog.js'
import type { CheckReport } from './catalog/check.js'
import { Containers, type CreateContainerOptions } from './catalog/containers.js'
import { diskUsage, type DiskUsage } from './catalog/disk-usage.js'
import { flattenImage, importImage, type FlattenOptions, type ImportOptions } from './catalog/make-image.js'
import { prune, type Pruned, type PruneOptions } from './catalog/prune.js'
import { removeImage, type Removed } from './catalog/removal.js'
import { infoOf, type Container, type ContainerInfo } from './containers/container.js'
import type { Driver, DriverInfo } from './drivers/driver.js'
import type { Refusal } from './drivers/select.js'
import { StoreError } from './errors.js'
import type { HistoryEntry } from './images/image-config.js'
import type { Image, InspectedImage } from './images/image.js'
import type { OperationOptions } from './operation-options.js'

/** What a store is made of. */
export interface StoreParts {
  /** The data root: an absolute path. */
  readonly root: string
  readonly driver: Driver
  readonly refused: readonly Refusal[]
  readonly catalog: Catalog
  readonly readOnly: boolean
}

let partsOf: (store: Store) => StoreParts

/** A content-addressed store of images, their layers and containers. */
export class Store implements AsyncDisposable {
  static {
    partsOf = (store) => store.#parts
  }

  /** The data root: an absolute path. */
  readonly root: string
  readonly driver: DriverInfo
  /** Drivers that `auto` would have preferred, and why each was refused. */
  readonly refused: readonly Refusal[]
  readonly #parts: StoreParts
  readonly #catalog: Catalog
  readonly #containers: Containers
  #closed = false

  /** @internal */
  constructor(parts: StoreParts) {
    const { root, driver, refused, catalog } = parts
    this.root = root
    this.driver = { name: driver.name, engine: driver.engine, capabilities: driver.capabilities }
    this.refused = refused
    this.#parts = parts
    this.#catalog = catalog
    this.#containers = new Containers(catalog, () => this.#mayWrite())
  }

  /**
   * Loads a docker-archive, an OCI archive or an OCI layout directory; plain, gzip or zstd. Layers that exist are not read
   * again.
   */
  async load(input: ArchiveInput, options: LoadOptions = {}): Promise<Image[]> {
    this.#mayWrite()
    return loadImages(this.#catalog, input, options)
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
    return this.#catalog.inspect(referenceOrId, this.#parts.driver)
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
    return this.#containers.open(idOrName, this.#parts)
  }

  async containers(): Promise<readonly ContainerInfo[]> {
    this.#open()
    return (await this.#catalog.containers.list()).map(infoOf)
  }

  /** Rows as `docker info` shows them for storage. */
  async status(): Promise<[key: string, value: string][]> {
    this.#open()
    return [['Storage Driver', this.driver.name], ...(await this.#parts.driver.status())]
  }

  /** Reports what uses how much space, as `docker system df`. */
  async diskUsage(options: OperationOptions = {}): Promise<DiskUsage> {
    this.#open()
    return diskUsage(this.#catalog, options)
  }

  /** Removes images without a name that nothing needs, as `docker image prune`. */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    this.#mayWrite()
    return prune(this.#catalog, options)
  }

  /**
   * Looks for damage everywhere. `repair` repairs what it can without losing data. `from` gives it an archive to replace
   * damaged layers from. `discard` lets it remove what cannot be repaired.
   */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    this.#open()
    if (options.repair === true) this.#mayWrite()
    return checkStore(this.#catalog, options)
  }

  /** Closes all views. May be called twice, also after a failure. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.#parts.driver.cleanup()
    } catch (error) {
      this.#closed = false
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #open(): void {
    if (this.#closed) throw new StoreError('STORE_CLOSED', 'the store is closed')
  }

  #mayWrite(): void {
    this.#open()
    if (this.#parts.readOnly) throw new StoreError('STORE_READ_ONLY', 'the store is open read-only')
  }
}

/** Returns the parts of a store, for tests and tools of this project. Not exported by the package. */
export function storeParts(store: Store): StoreParts {
  return partsOf(store)
}
