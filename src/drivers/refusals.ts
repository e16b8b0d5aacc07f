import { StoreError } from '../errors.js'

/** Refusals that all drivers share, so that they use the same words. */

export function noLayer(driver: string, id: string): StoreError {
  return new StoreError('LAYER_NOT_FOUND', `${driver} has no layer ${id}`)
}

export function isThereAlready(id: string): StoreError {
  return new StoreError('NAME_CONFLICT', `layer ${id} already exists`)
}

export function isHandedOut(id: string): StoreError {
  return new StoreError(
    'LAYER_IN_USE',
    `programs may still write to layer ${id}: its host path was handed out`,
    {
      hint: 'commit without consume: programs that use a host directory cannot be denied access later',
    },
  )
}

export function isStillWritten(id: string, mount: string): StoreError {
  return new StoreError('LAYER_IN_USE', `a program has a file of layer ${id} open for writing`, {
    path: mount,
    hint: `end that program first; find it with fuser -vm ${mount}`,
  })
}

export function isReadOnly(): StoreError {
  return new StoreError('STORE_READ_ONLY', 'the store is open read-only')
}
