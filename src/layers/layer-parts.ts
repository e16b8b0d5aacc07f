import type { Driver } from '../drivers/driver.js'
import { StoreError } from '../errors.js'
import type { Claims } from './claims.js'
import type { Consumptions } from './consumption.js'
import type { LayerDb } from './layerdb.js'

/** What the parts of a layer store share. */
export interface LayerParts {
  readonly driver: Driver
  readonly db: LayerDb
  readonly claims: Claims
  readonly consumptions: Consumptions
  readonly readOnly: boolean
  /** Runs a short step on metadata under the lock of the layers, which excludes other processes. */
  locked<T>(work: () => Promise<T>): Promise<T>
}

/** Throws `STORE_READ_ONLY`. */
export function mayWrite({ readOnly }: LayerParts): void {
  if (readOnly) throw new StoreError('STORE_READ_ONLY', 'the store is open read-only')
}
