import { createHash } from 'node:crypto'
import type { DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { ImageConfig } from '../images/image-config.js'
import type { OperationOptions } from '../operation-options.js'
import type { Reference } from '../references/reference.js'

/** An image to be written to an archive. */
export interface SavedImage {
  readonly configBytes: Uint8Array
  readonly config: ImageConfig
  readonly references: readonly Reference[]
}

/** Passes a layer's tar through. Throws `STORE_CORRUPT` at the end if its DiffID differs. */
export async function* verified(
  tar: AsyncIterable<Uint8Array>,
  diffId: DiffID,
  total: number,
  options: OperationOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const hash = createHash('sha256')
  let done = 0
  for await (const chunk of tar) {
    options.signal?.throwIfAborted()
    hash.update(chunk)
    yield chunk
    done += chunk.length
    options.onProgress?.({ type: 'layer:save', id: diffId, done, total })
  }
  if (`sha256:${hash.digest('hex')}` === diffId) return
  throw new StoreError('STORE_CORRUPT', `the files of layer ${diffId} no longer match its DiffID`, {
    hint: 'check({ repair: true, from }) rebuilds the layer from an archive of its image',
  })
}
