import { keepingOptions, type KeepingOptions } from '../keeping.js'

/** The driver's own options (`driverOptions`). */
export interface BtrfsOptions extends KeepingOptions {
  /**
   * Of the userspace engine: bytes of its trees that are kept in memory. Less is slower, more is faster only for trees that
   * are larger.
   * @default 32 MiB
   */
  readonly cache?: number
}

/** Throws `TypeError` for what is no option. */
export function btrfsOptions(given: Readonly<Record<string, unknown>> = {}): BtrfsOptions {
  const { cache, ...rest } = given
  const options = keepingOptions('btrfs', rest)
  if (options.attributes === 'sidecar') {
    throw new TypeError('btrfs: attributes can be native or override; every btrfs has xattrs')
  }
  if (cache === undefined) return options
  if (typeof cache !== 'number' || !(cache > 0)) {
    throw new TypeError('btrfs: cache is a number of bytes')
  }
  return { ...options, cache }
}
