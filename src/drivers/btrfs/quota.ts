import { StoreError } from '../../errors.js'
import type { CreateOptions } from '../driver.js'

const UNITS = ['', 'k', 'm', 'g', 't', 'p']
const SIZE = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i

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

function bytesOf(text: string): bigint {
  const [, number = '', unit = ''] = SIZE.exec(text) ?? []
  const size = Math.trunc(Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase()))
  if (number !== '' && size > 0 && Number.isSafeInteger(size)) return BigInt(size)
  throw new TypeError(`not a size: ${JSON.stringify(text)}`)
}
