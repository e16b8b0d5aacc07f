import { StoreError } from '../errors.js'
import type { ByteString } from './bytes.js'

/** The file no longer holds what the layer's tar delivered. */
export function damagedFile(path: ByteString, why: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `a file of the layer is damaged: ${path}: ${why}`, {
    path,
    cause,
    hint: 'check({ repair: true, from }) rebuilds the layer from an archive of its image',
  })
}
