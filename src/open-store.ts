import { join, resolve } from 'node:path'
import type { Driver, Engine } from './drivers/driver.js'
import type { DriverRegistry } from './drivers/registry.js'
import { selectDriver } from './drivers/select.js'
import { claimFormat } from './durable/format-file.js'
import { makeDirectories } from './durable/make-directory.js'
import { Store } from './store.js'

/** Version of the files in `<root>/layerstack`. */
const FORMAT = '1'

export interface OpenStoreOptions {
  /** The data root, as dockerd's `--data-root`. It is made if it does not exist. */
  readonly root: string
  /** A driver's name, `auto`, or a driver of your own. @default 'auto' */
  readonly driver?: string | Driver | undefined
  /** @default 'auto' */
  readonly engine?: Engine | 'auto' | undefined
  readonly driverOptions?: Readonly<Record<string, unknown>> | undefined
  /** Nothing is written below the root. Calls that would write reject with `STORE_READ_ONLY`. @default false */
  readonly readOnly?: boolean | undefined
}

/** Opens a store on a root, which any number of processes may share. The caller closes it. */
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
