import { StoreError } from '../../errors.js'
import type { CreateOptions } from '../driver.js'
import { sizeOption } from '../size.js'

/**
 * Returns the size limit in the storage options, in bytes. Throws `ENGINE_UNSUPPORTED` for a limit if quotas do not
 * work.
 */
export function sizeOfQuota(options: CreateOptions, works: boolean): bigint | undefined {
  const size = sizeOption('btrfs', options)
  if (size === undefined || works) return size
  throw new StoreError(
    'ENGINE_UNSUPPORTED',
    'cannot limit the size of a layer: quotas do not work on this btrfs',
    {
      hint: 'as root, enable quotas on the file system: btrfs quota enable',
    },
  )
}
