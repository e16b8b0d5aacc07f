import type { ImageID } from '../digest.js'
import type { Catalog } from './catalog.js'

/** Dependencies of images and containers, read once under the catalog's lock. Only `forget` updates it. */
export class Usage {
  readonly #references: ReadonlyMap<ImageID, readonly string[]>
  /** The parent of each image: the image that it was committed from. */
  readonly #parents: Map<ImageID, ImageID | undefined>
  readonly #containers: ReadonlyMap<ImageID, readonly string[]>

  private constructor(
    references: ReadonlyMap<ImageID, readonly string[]>,
    parents: Map<ImageID, ImageID | undefined>,
    containers: ReadonlyMap<ImageID, readonly string[]>,
  ) {
    this.#references = references
    this.#parents = parents
    this.#containers = containers
  }

  static async read(catalog: Catalog): Promise<Usage> {
    const ids = await catalog.images.list()
    const parents = new Map<ImageID, ImageID | undefined>()
    for (const id of ids) parents.set(id, await catalog.images.parent(id))
    return new Usage(await catalog.references.all(), parents, await catalog.containersByImage(ids))
  }

  get images(): ImageID[] {
    return [...this.#parents.keys()]
  }

  parentOf(id: ImageID): ImageID | undefined {
    return this.#parents.get(id)
  }

  /** An image that was committed from this one. */
  childOf(id: ImageID): ImageID | undefined {
    for (const [child, parent] of this.#parents) if (parent === id) return child
    return undefined
  }

  /** Names of the containers on the image. */
  containersOn(id: ImageID): readonly string[] {
    return this.#containers.get(id) ?? []
  }

  /** Whether the image exists, has no name, and nothing stands on it. */
  isUnneeded(id: ImageID): boolean {
    if (!this.#parents.has(id) || this.#references.has(id)) return false
    return this.containersOn(id).length === 0 && this.childOf(id) === undefined
  }

  /** Call it after removing the image. */
  forget(id: ImageID): void {
    this.#parents.delete(id)
  }
}
