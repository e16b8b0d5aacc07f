import type { ContainerRecord } from '../containers/container-store.js'
import { sha256, type ImageID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { Image } from '../images/image.js'
import type { Consumption } from '../layers/consumption.js'
import type { Consumed } from '../layers/commit.js'
import type { Layer } from '../layers/layer.js'
import type { OperationOptions } from '../operation-options.js'
import { familiarText, parseReference } from '../references/reference.js'
import type { Catalog, NewImage } from './catalog.js'

/**
 * Turns a container into an image, by the protocol of `Consumptions`. If it rejects, the container is as it was. If the
 * driver had already adopted the layer, the next call on the container or the next open finishes the image instead.
 * @param imageOf describes the image of the container's layer
 */
export async function consumeContainer(
  catalog: Catalog,
  record: ContainerRecord,
  imageOf: (layer: Layer) => NewImage,
  options: OperationOptions,
): Promise<Image> {
  const { layers } = catalog
  const pins: AsyncDisposable[] = []
  let consumption: Consumption
  const decide = async (consumed: Consumed): Promise<void> => {
    const image = imageOf(consumed.layer)
    consumption = consumptionOf(record, consumed, image)
    await catalog.locked(async () => {
      await refuseGone(catalog, record)
      await catalog.references.refuse(
        image.references.map((reference) => ({ reference, id: consumption.image.id })),
      )
      await layers.consumptions.decide(consumption)
    })
  }
  try {
    return await layers.commits.consume(
      record.id,
      { decide, complete: () => complete(catalog, consumption, options) },
      { ...options, onPinned: (pin) => pins.push(pin) },
    )
  } finally {
    for (const pin of pins) await pin[Symbol.asyncDispose]()
  }
}

/**
 * Finishes commits that were decided and then interrupted by a kill or an error. A consumption that cannot be finished
 * does not stop the others. It stays for a later call. If the driver refuses to adopt the layer, its container stays as it
 * was.
 * @returns the finished images, by container
 */
export async function finishConsumptions(catalog: Catalog): Promise<ReadonlyMap<string, Image>> {
  const { layers } = catalog
  const images = new Map<string, Image>()
  await layers.consumptions.exclusively(async () => {
    await layers.consumptions.setAsideDamaged()
    for (const consumption of await layers.consumptions.list()) {
      if (await layers.commits.isBeingConsumed(consumption)) continue
      const image = await finish(catalog, consumption)
      if (image !== undefined) images.set(consumption.container, image)
    }
  })
  return images
}

async function finish(catalog: Catalog, consumption: Consumption): Promise<Image | undefined> {
  const { layers } = catalog
  try {
    await layers.commits.takeOver(consumption)
    return await complete(catalog, consumption, {})
  } catch {
    const isRevocable = await layers.commits.isRevocable(consumption).catch(() => false)
    if (isRevocable) await layers.consumptions.remove(consumption.container)
    return undefined
  }
}

async function complete(
  catalog: Catalog,
  { container, image }: Consumption,
  options: OperationOptions,
): Promise<Image> {
  const entry: NewImage = {
    config: Buffer.from(image.config),
    references: image.references.map(parseReference),
    parent: image.parent,
  }
  const [stored] = await catalog.publish([entry], options)
  await catalog.locked(() => catalog.containers.remove(container))
  await catalog.layers.consumptions.remove(container)
  return stored as Image
}

function consumptionOf(
  record: ContainerRecord,
  consumed: Consumed,
  { config, references }: NewImage,
): Consumption {
  return {
    ...consumed,
    image: {
      id: sha256<ImageID>(config),
      config: Buffer.from(config).toString('utf8'),
      parent: record.image,
      references: references.map(familiarText),
    },
  }
}

async function refuseGone(catalog: Catalog, { id, name }: ContainerRecord): Promise<void> {
  if (await catalog.containers.has(id)) return
  throw new StoreError('CONTAINER_NOT_FOUND', `container ${name} was removed during the commit`)
}
