import { StoreError } from '../../errors.js'
import type { CreateOptions } from '../driver.js'
import { bytesOf } from '../size.js'

/** The limit that the storage options ask for, in bytes, as Docker reads it: `10g` is 10 GiB. */
export function sizeOfQuota({ storageOptions = {} }: CreateOptions, works: boolean): bigint | undefined {
  let size: bigint | undefined
  for (const [name, value] of Object.entries(storageOptions)) {
    if (name.toLowerCase() !== 'size') {
      throw new StoreError('ENGINE_UNSUPPORTED', `btrfs has no storage option ${name} here`)
    }
    size = bytesOf(value)
  }
  if (size === undefined || works) return size
  throw new StoreError('ENGINE_UNSUPPORTED', 'the size of a layer cannot be limited on this btrfs', {
    hint: 'as root, enable quota on the file system: btrfs quota enable',
  })
}
