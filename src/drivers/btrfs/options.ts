import { bytesOf } from '../size.js'
import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'
import { mountFlagsOf, type MountOptions } from '../mount-flags.js'

/** The driver's own options (`driverOptions`). */
export interface BtrfsOptions extends AttributeOptions, MountOptions {
  /**
   * Of the userspace engine: bytes of its trees that are kept in memory. Less is slower, more is faster only for trees that
   * are larger.
   * @default 32 MiB
   */
  readonly cache?: number
  /**
   * Of the kernel engine, as root: a btrfs of its own in a sparse file of the root, for a root on another file system. It
   * is made, with `size` as in `20G`, at the first open, and mounted while the store is open; a larger size lets it grow.
   * Later opens need no option.
   */
  readonly loopback?: { readonly size: string }
}

interface Resolved extends AttributeOptions {
  readonly cache?: number
  /** In bytes. */
  readonly loopbackSize?: bigint
  /** `MS_*` */
  readonly mountFlags: number
  /** The caller said which. */
  readonly namesMountFlags: boolean
}

/** Throws `TypeError` for what is no option. */
export function btrfsOptions(given: Readonly<Record<string, unknown>> = {}): Resolved {
  const { cache, loopback, mountFlags, ...rest } = given
  const options = attributeOptions('btrfs', rest)
  if (options.attributes === 'sidecar') {
    throw new TypeError('btrfs: attributes can be native or override; every btrfs has xattrs')
  }
  if (cache !== undefined && (typeof cache !== 'number' || !(cache > 0))) {
    throw new TypeError('btrfs: cache is a number of bytes')
  }
  return {
    ...options,
    ...(cache !== undefined && { cache }),
    ...(loopback !== undefined && { loopbackSize: sizeOf(loopback) }),
    mountFlags: mountFlagsOf('btrfs', mountFlags),
    namesMountFlags: mountFlags !== undefined,
  }
}

function sizeOf(loopback: unknown): bigint {
  const size = (loopback as { size?: unknown } | null)?.size
  if (typeof size === 'string') return bytesOf(size)
  throw new TypeError("btrfs: loopback is { size: '20G' }")
}
