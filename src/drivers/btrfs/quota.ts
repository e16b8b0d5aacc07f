import { StoreError } from '../../errors.js'
import type { CreateOptions } from '../driver.js'
import { sizeOption } from '../size.js'

/** The limit that the storage options ask for, in bytes. */
export function sizeOfQuota(options: CreateOptions, works: boolean): bigint | undefined {
  const size = sizeOption('btrfs', options)
  if (size === undefined || works) return size
  throw new StoreError('ENGINE_UNSUPPORTED', 'the size of a layer cannot be limited on this btrfs', {
    hint: 'as root, enable quota on the file system: btrfs quota enable',
  })
}
