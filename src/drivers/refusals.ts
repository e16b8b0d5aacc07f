import { StoreError } from '../errors.js'

/** Refusals that all drivers share, so that they use the same words. */

export function noLayer(driver: string, id: string): StoreError {
  return new StoreError('LAYER_NOT_FOUND', `${driver} has no layer ${id}`)
}

export function isThereAlready(id: string): StoreError {
  return new StoreError('NAME_CONFLICT', `layer ${id} is there already`)
}

export function isHandedOut(id: string): StoreError {
  return new StoreError(
    'LAYER_IN_USE',
    `programs may still write to layer ${id}: its directory was given out`,
    {
      hint: 'commit without consume: a directory of the host cannot be taken back from the programs that use it',
    },
  )
}

export function isStillWritten(id: string, mount: string): StoreError {
  return new StoreError('LAYER_IN_USE', `a program has a file in the mount of layer ${id} open for writing`, {
    path: mount,
    hint: `end it first: fuser -vm ${mount} tells which`,
  })
}

export function isReadOnly(): StoreError {
  return new StoreError('STORE_READ_ONLY', 'the store is open read-only')
}
