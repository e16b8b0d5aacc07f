import { join } from 'node:path'
import { ContainerStore } from '../containers/container-store.js'
import type { Driver } from '../drivers/driver.js'
import { ImageStore } from '../images/image-store.js'
import { LayerStore } from '../layers/layer-store.js'
import { ReferenceStore } from '../references/reference-store.js'
import { Catalog } from './catalog.js'
import { finishConsumptions } from './consume.js'

export interface CatalogOptions {
  /** The data root. */
  readonly root: string
  readonly driver: Driver
  /** Nothing is written below the root: what dead processes left stays. */
  readonly readOnly: boolean
}

/** Opens the catalog of a root and driver. Finishes or clears what dead processes left unfinished. */
export async function openCatalog({ root, driver, readOnly }: CatalogOptions): Promise<Catalog> {
  const imageDirectory = join(root, 'image', driver.name)
  const own = join(root, 'layerstack')
  const catalog = new Catalog({
    images: new ImageStore(imageDirectory),
    references: new ReferenceStore(imageDirectory),
    containers: new ContainerStore(join(own, 'containers', driver.name), join(root, 'containers')),
    layers: new LayerStore({ root, driver, readOnly }),
    lockFile: join(own, 'images.lock'),
    temporary: join(own, 'tmp'),
  })
  if (!readOnly) await recover(catalog)
  return catalog
}

async function recover(catalog: Catalog): Promise<void> {
  await finishConsumptions(catalog)
  await catalog.layers.open((id) => catalog.containers.has(id))
  await catalog.forgetRemoved()
  await catalog.tidyFiles()
}
