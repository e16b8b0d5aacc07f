import { StoreError } from '../errors.js'

/** What every driver refuses, in the same words. */

export function noLayer(driver: string, id: string): StoreError {
  return new StoreError('LAYER_NOT_FOUND', `${driver} has no layer ${id}`)
}

export function isThereAlready(id: string): StoreError {
  return new StoreError('NAME_CONFLICT', `layer ${id} is there already`)
}

export function isReadOnly(): StoreError {
  return new StoreError('STORE_READ_ONLY', 'the store is open read-only')
}
