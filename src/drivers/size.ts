import { StoreError } from '../errors.js'
import type { CreateOptions } from './driver.js'

const UNITS = ['', 'k', 'm', 'g', 't', 'p']
const SIZE = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i

/** Parses a size in bytes as Docker does: `10g` is 10 GiB. Throws `TypeError` for anything else. */
export function bytesOf(text: string): bigint {
  const [, number = '', unit = ''] = SIZE.exec(text) ?? []
  const size = Math.trunc(Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase()))
  if (number !== '' && size > 0 && Number.isSafeInteger(size)) return BigInt(size)
  throw new TypeError(
    `invalid size: ${JSON.stringify(text)} (a size is a positive number and an optional unit, such as 10G)`,
  )
}

/** Returns the storage option `size` in bytes. Throws `ENGINE_UNSUPPORTED` for any other option. */
export function sizeOption(driver: string, { storageOptions = {} }: CreateOptions): bigint | undefined {
  let size: bigint | undefined
  for (const [name, value] of Object.entries(storageOptions)) {
    if (name.toLowerCase() !== 'size') {
      throw new StoreError('ENGINE_UNSUPPORTED', `${driver} does not support the storage option ${name}`)
    }
    size = bytesOf(value)
  }
  return size
}
