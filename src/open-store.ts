import { join, resolve } from 'node:path'
import { openCatalog } from './catalog/open-catalog.js'
import type { Driver, Engine } from './drivers/driver.js'
import type { DriverRegistry } from './drivers/registry.js'
import { selectDriver } from './drivers/select.js'
import { claimFormat } from './durable/format-file.js'
import { makeDirectories } from './durable/make-directory.js'
import { Store } from './store.js'

/** Version of the files in `<root>/layerstack`. */
const FORMAT = '1'

/** How to open a store, apart from its driver. */
export interface OpenOptions {
  /**
   * The data root, as dockerd's `--data-root`. A relative path is resolved when the store is opened. A missing root is
   * created, unless `readOnly`.
   */
  readonly root: string
  /**
   * The engine of the driver. `auto` takes the engine that made the layers of the root. If either engine can open the
   * root, it takes the kernel engine if it works. An engine that does not work is `ENGINE_UNSUPPORTED`.
   * @default 'auto'
   */
  readonly engine?: Engine | 'auto' | undefined
  /**
   * Writes nothing below the root. Calls that would write reject with `STORE_READ_ONLY`.
   * @default false
   */
  readonly readOnly?: boolean | undefined
}

export interface OpenStoreWithOptions extends OpenOptions {
  /** A name in the registry, `auto`, or an open driver. @default 'auto' */
  readonly driver?: string | Driver | undefined
  /** Not yet checked; see each driver's `options.ts`. */
  readonly driverOptions?: object | undefined
}

/** Opens a store on a root, which any number of processes may share. The caller closes it. */
export async function openStoreWith(registry: DriverRegistry, options: OpenStoreWithOptions): Promise<Store> {
  const { driver: wanted = 'auto', engine = 'auto', driverOptions, readOnly = false } = options
  const root = resolve(options.root)
  await claimFormat(join(root, 'layerstack', 'format'), FORMAT, true)
  if (!readOnly) makeDirectories(root, 0o711)
  const { driver, refused } =
    typeof wanted === 'string'
      ? await selectDriver(registry, {
          driver: wanted,
          root,
          engine,
          driverOptions: { ...driverOptions },
          readOnly,
        })
      : { driver: wanted, refused: [] }
  const catalog = await openCatalog({ root, driver, readOnly })
  if (!readOnly) await claimFormat(join(root, 'layerstack', 'format'), FORMAT, false)
  return new Store({ root, driver, refused, catalog, readOnly })
}
