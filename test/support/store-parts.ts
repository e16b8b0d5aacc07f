import type { Driver } from '#layerstack/drivers/driver.js'
import type { LayerStore } from '#layerstack/layers/layer-store.js'
import { storeParts, type Store } from '#layerstack/store.js'

/** The layers below a store, which its public type hides. */
export function layersOf(store: Store): LayerStore {
  return storeParts(store).catalog.layers
}

export function driverOf(store: Store): Driver {
  return storeParts(store).driver
}
