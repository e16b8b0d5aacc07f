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

/**
 * A content-addressed store of images, their layers and containers. `openStore` opens one.
 *
 * Once a call of the store resolves, its effect is on disk. A call that makes an image or a container leaves the store
 * as it was if it fails or is aborted.
 *
 * After `close`, every other call rejects with `STORE_CLOSED`. Calls that change a store opened with `readOnly` reject
 * with `STORE_READ_ONLY`. Calls that change the catalog reject with `STORE_LOCKED` if another process holds its lock
 * for more than 60 s.
 *
 * An image is named by a reference, by its ID (with or without `sha256:`), or by a unique prefix of at least 4 hex
 * digits. A lookup rejects with `IMAGE_NOT_FOUND`, with `REFERENCE_AMBIGUOUS` if several IDs have the prefix, or with
 * `REFERENCE_INVALID`.
 *
 * @example
 * ```ts
 * import { openStore } from 'layerstack'
 *
 * await using store = await openStore({ root: 'layers' })
 * await store.load('image.tar')
 * const container = await store.createContainer('team/app:1')
 * await container.fs.writeFile('/etc/motd', 'hello\n')
 * await container.commit({ reference: 'team/app:2', consume: true })
 * await store.save('team/app:2', 'app.tar')
 * ```
 */
export class Store implements AsyncDisposable {
  static {
    partsOf = (store) => store.#parts
  }

  /** The data root: an absolute path. */
  readonly root: string
  /** The name, engine and capabilities of the driver in use. */
  readonly driver: DriverInfo
  /** Drivers that `auto` tried first, and why each was refused. Empty if the caller chose the driver. */
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
   * Loads all images of a docker-archive, an OCI archive or the directory of an OCI layout: plain, gzip or zstd. Layers
   * that exist are not read again. A reference that names another image moves to the loaded one.
   *
   * Rejects without adding an image. The archive is at fault if the code is `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`,
   * `ARCHIVE_UNSUPPORTED`, `MANIFEST_INVALID`, `CONFIG_INVALID`, `LAYER_INVALID`, `LAYER_MISSING`, `DIGEST_MISMATCH`,
   * `LIMIT_EXCEEDED` or `REFERENCE_INVALID`. Rejects with `SYSTEM` if the archive cannot be read.
   *
   * @param input a path, or the bytes of an archive in chunks, such as a stream
   * @returns the images, in the order of the archive
   *
   * @example
   * ```ts
   * const [image] = await store.load('image.tar', { signal: AbortSignal.timeout(60_000) })
   * console.log(image?.id, image?.references)
   * ```
   */
  async load(input: ArchiveInput, options: LoadOptions = {}): Promise<Image[]> {
    this.#mayWrite()
    return loadImages(this.#catalog, input, options)
  }

  /**
   * Writes images with all their layers. Each layer's tar has the bytes that it was loaded with. The archive names each
   * image by the references in `references`; an image chosen by its ID or by a digest has no name there.
   *
   * A file or a directory appears complete or not at all. A stream is ended. Rejects with `NAME_CONFLICT` if the path
   * exists, with `STORE_CORRUPT` if a layer is damaged, with `SYSTEM` if the output cannot be written, and with a
   * `TypeError` for an `oci-layout` into a stream.
   *
   * @param references one image or several, by reference or ID
   * @param output a path that does not exist, or a stream
   *
   * @example
   * ```ts
   * await store.save('team/app:1', 'app.tar') // for docker load, podman load and skopeo copy
   * await store.save('team/app:1', 'layout', { format: 'oci-layout', compression: 'zstd' })
   * ```
   */
  async save(
    references: string | readonly string[],
    output: string | Writable,
    options: SaveOptions = {},
  ): Promise<void> {
    this.#open()
    const wanted = typeof references === 'string' ? [references] : references
    await saveReferences(this.#catalog, wanted, output, options)
  }

  /**
   * Makes an image of one layer from the tar of a root filesystem, as `docker import` does. The tar may be compressed
   * with gzip or zstd. The image is for Linux and this machine's architecture.
   *
   * Rejects with `CHANGE_INVALID` for an edit in `config`, and with `REFERENCE_INVALID`. The tar is at fault if the
   * code is `ARCHIVE_TRUNCATED`, `ARCHIVE_CORRUPT`, `ARCHIVE_UNSUPPORTED`, `LAYER_INVALID` or `LIMIT_EXCEEDED`.
   *
   * @param rootfs a path, or the bytes of a tar in chunks, such as a stream
   */
  async import(rootfs: ArchiveInput, options: ImportOptions = {}): Promise<Image> {
    this.#mayWrite()
    checkArchiveInput(rootfs)
    return importImage(
      this.#catalog,
      typeof rootfs === 'string' ? { path: rootfs } : { chunks: rootfs },
      options,
    )
  }

  /** Lists all images, in no particular order. */
  async images(): Promise<Image[]> {
    this.#open()
    return this.#catalog.list()
  }

  /** Returns an image by reference, by ID, or by a prefix of an ID. */
  async image(referenceOrId: string): Promise<Image> {
    this.#open()
    return this.#catalog.image(referenceOrId)
  }

  /** Returns what `image` returns, with the parent and the driver's metadata of the uppermost layer. */
  async inspect(referenceOrId: string): Promise<InspectedImage> {
    this.#open()
    return this.#catalog.inspect(referenceOrId, this.#parts.driver)
  }

  /** Returns the history in the image's config, oldest step first. */
  async history(referenceOrId: string): Promise<readonly HistoryEntry[]> {
    return (await this.image(referenceOrId)).history
  }

  /**
   * Gives an image another reference. A reference without a tag gets `latest`. A tag that names another image moves to
   * this one. Rejects with `REFERENCE_INVALID`, and with `REFERENCE_CONFLICT` for a digest that names another image.
   */
  async tag(referenceOrId: string, reference: string): Promise<void> {
    this.#mayWrite()
    await this.#catalog.tag(referenceOrId, reference)
  }

  /**
   * Removes as `docker rmi` does. If the image has several names, removes only the given name. Otherwise removes the
   * image, the layers that nothing else needs, and the unnamed and unused images that it was committed from.
   *
   * Rejects with `REFERENCE_CONFLICT` if an image with several names is given by ID; `force` removes it with all its
   * names. Rejects with `IMAGE_IN_USE`, regardless of `force`, if a container is based on the image or if another image
   * was committed from it. In the latter case, removing by reference removes the name and keeps the image.
   */
  async remove(
    referenceOrId: string,
    { force = false }: { readonly force?: boolean } = {},
  ): Promise<Removed> {
    this.#mayWrite()
    return removeImage(this.#catalog, referenceOrId, force)
  }

  /**
   * Makes an image of one layer from all layers of another, with the same config and history. Its history entries stay,
   * marked as empty layers, and one is added. The other image stays. Rejects with `LAYER_MISSING` if it has no layers.
   *
   * @example
   * ```ts
   * const flat = await store.flatten('team/app:1', { reference: 'team/app:flat' })
   * console.log(flat.layers.length) // 1
   * ```
   */
  async flatten(referenceOrId: string, options: FlattenOptions = {}): Promise<Image> {
    this.#mayWrite()
    return flattenImage(this.#catalog, referenceOrId, options)
  }

  /**
   * Makes a container on an image and mounts it. Release it with `unmount` or `remove`; `close` releases all.
   *
   * Rejects with `NAME_INVALID` or `NAME_CONFLICT` for the name, and with `ENGINE_UNSUPPORTED` for a storage option
   * that the driver does not know.
   *
   * @example
   * ```ts
   * const container = await store.createContainer('team/app:1', { name: 'sandbox' })
   * await container.fs.appendFile('/etc/motd', 'more\n')
   * for await (const { kind, path } of container.changes()) console.log(kind, path)
   * await container.remove()
   * ```
   */
  async createContainer(referenceOrId: string, options: CreateContainerOptions = {}): Promise<Container> {
    this.#mayWrite()
    return this.#containers.create(referenceOrId, options)
  }

  /**
   * Mounts an existing container: by name, by id, or by a unique prefix of an id. Rejects with `CONTAINER_NOT_FOUND`,
   * with `REFERENCE_AMBIGUOUS` if several ids have the prefix, and with `CONTAINER_IN_USE` while a commit turns the
   * container into an image or the other engine holds it.
   */
  async openContainer(idOrName: string): Promise<Container> {
    this.#open()
    return this.#containers.open(idOrName, this.#parts)
  }

  /**
   * Lists the containers that this library made with this driver, mounted or not. Containers of dockerd are not listed.
   */
  async containers(): Promise<readonly ContainerInfo[]> {
    this.#open()
    return (await this.#catalog.containers.list()).map(infoOf)
  }

  /** Returns the rows that `docker info` shows for storage. */
  async status(): Promise<[key: string, value: string][]> {
    this.#open()
    return [['Storage Driver', this.driver.name], ...(await this.#parts.driver.status())]
  }

  /** Reports what uses how much space, as `docker system df` does. Reads every writable layer. */
  async diskUsage(options: OperationOptions = {}): Promise<DiskUsage> {
    this.#open()
    return diskUsage(this.#catalog, options)
  }

  /**
   * Removes images without a name that nothing needs, as `docker image prune` does. Also removes layers that no image
   * uses, and what ended processes left unfinished.
   */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    this.#mayWrite()
    return prune(this.#catalog, options)
  }

  /**
   * Looks for damage in layers, images, references, containers and the driver's files. Changes by other processes
   * during the check are not damage. With `repair`, repairs what it can without losing data. With `from`, also replaces
   * damaged layers and configs from an archive. With `discard`, removes what cannot be repaired.
   *
   * Rejects with a `TypeError` for `from` or `discard` without `repair`, and as `load` does for the archive `from`.
   *
   * @example
   * ```ts
   * const { clean, problems } = await store.check()
   * for (const { kind, id, detail } of problems) console.log(kind, id, detail)
   * if (!clean) await store.check({ repair: true, from: 'image.tar' })
   * ```
   */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    this.#open()
    if (options.repair === true) this.#mayWrite()
    return checkStore(this.#catalog, options)
  }

  /** Releases all views of containers, and what the driver holds. May be called twice, also after a failure. */
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

  /** Closes the store, for `await using`. */
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
