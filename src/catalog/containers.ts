import { randomBytes } from 'node:crypto'
import { Container, type CommitContainerOptions, type ContainerHome } from '../containers/container.js'
import type { ContainerRecord } from '../containers/container-store.js'
import { StoreError } from '../errors.js'
import type { Image } from '../images/image.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { Catalog } from './catalog.js'
import { consumeContainer, finishConsumptions } from './consume.js'
import { commitContainer, committedImage, now } from './make-image.js'

/** Options of {@link Store.createContainer}. */
export interface CreateContainerOptions {
  /**
   * The name: two or more of `a-z A-Z 0-9 _ . -`, the first a letter or a digit.
   * @default the first 12 digits of the container's id
   */
  readonly name?: string | undefined
  /** Options of the driver for this container, such as a quota: `{ size: '1G' }`. @default none */
  readonly storageOptions?: Readonly<Record<string, string>> | undefined
}

/** Makes, opens, commits and removes containers. */
export class Containers implements ContainerHome {
  readonly layers: LayerStore
  readonly #catalog: Catalog
  readonly #mayWrite: () => void

  /** @param mayWrite throws if the store is closed or read-only */
  constructor(catalog: Catalog, mayWrite: () => void) {
    this.layers = catalog.layers
    this.#catalog = catalog
    this.#mayWrite = mayWrite
  }

  /** Makes a container, and mounts it. */
  async create(referenceOrId: string, options: CreateContainerOptions): Promise<Container> {
    const catalog = this.#catalog
    const image = await catalog.find(referenceOrId)
    const top = await catalog.topLayer(image)
    const id = randomBytes(32).toString('hex')
    const record: ContainerRecord = { id, name: options.name ?? id.slice(0, 12), image, created: now() }
    const makeKnown = () =>
      catalog.locked(async () => {
        await catalog.find(image)
        await catalog.containers.add(record)
      })
    await this.layers.writables.create(id, top, options.storageOptions, makeKnown)
    try {
      return await Container.open(this, record)
    } catch (error) {
      // If the removal fails, the container stays, unmounted.
      await this.remove(record).catch(() => undefined)
      throw error
    }
  }

  /** Mounts an existing container. */
  async open(idOrName: string, { readOnly }: { readonly readOnly: boolean }): Promise<Container> {
    const { containers } = this.#catalog
    if (!readOnly) await this.#finishConsumption((await containers.find(idOrName)).id)
    const record = await containers.find(idOrName)
    return asContainer(record, Container.open(this, record))
  }

  async commit(record: ContainerRecord, options: CommitContainerOptions): Promise<Image> {
    this.#mayWrite()
    const finished = await this.#finishConsumption(record.id)
    if (options.consume !== true) return asContainer(record, commitContainer(this.#catalog, record, options))
    if (finished !== undefined) return finished
    const imageOf = await committedImage(this.#catalog, record, options)
    return asContainer(record, consumeContainer(this.#catalog, record, imageOf, options))
  }

  async remove(record: ContainerRecord): Promise<void> {
    this.#mayWrite()
    await this.#finishConsumption(record.id)
    const forget = () => this.#catalog.locked(() => this.#catalog.containers.remove(record.id))
    await asContainer(record, this.layers.writables.remove(record.id, forget))
  }

  /** Finishes a commit that consumes the container, if one was decided and then interrupted. */
  async #finishConsumption(id: string): Promise<Image | undefined> {
    if (!this.layers.consumptions.has(id)) return undefined
    return (await finishConsumptions(this.#catalog)).get(id)
  }
}

async function asContainer<T>({ name }: ContainerRecord, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
    throw new StoreError('CONTAINER_IN_USE', `container ${name} is in use`, {
      cause: error,
      hint: 'unmount it wherever it is mounted, and wait for any commit of it',
    })
  }
}
