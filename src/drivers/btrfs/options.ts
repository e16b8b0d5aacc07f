import { keepingOptions, type KeepingOptions } from '../keeping.js'

/** The driver's own options (`driverOptions`). */
export type BtrfsOptions = KeepingOptions

/** Throws `TypeError` for what is no option. */
export function btrfsOptions(given?: Readonly<Record<string, unknown>>): BtrfsOptions {
  const options = keepingOptions('btrfs', given)
  if (options.attributes === 'sidecar') {
    throw new TypeError('btrfs: attributes can be native or override; every btrfs has xattrs')
  }
  return options
}
