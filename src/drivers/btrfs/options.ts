import { bytesOf } from '../size.js'
import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'
import { mountFlagsOf, type MountOptions } from '../mount-flags.js'

/** Options (`driverOptions`) of the `btrfs` driver. */
export interface BtrfsOptions extends AttributeOptions, MountOptions {
  /**
   * Userspace engine only: bytes of its trees kept in memory. A smaller cache is slower; a larger one is faster only
   * for larger trees.
   * @default 32 MiB
   */
  readonly cache?: number
  /**
   * Kernel engine only, as root: a separate btrfs in a sparse file of the root, for a root on another file system. The
   * first open creates the file with this `size`, such as `20G`. The file is mounted while the store is open. A larger
   * size grows it. Later opens need no option.
   * @default none
   */
  readonly loopback?: { readonly size: string }
}

interface Resolved extends AttributeOptions {
  readonly cache?: number
  /** In bytes. */
  readonly loopbackSize?: bigint
  /** `MS_*` flags. */
  readonly mountFlags: number
  /** Whether the caller set `mountFlags`. */
  readonly namesMountFlags: boolean
}

/** Throws `TypeError` for an unknown option or an invalid value. */
export function btrfsOptions(given: Readonly<Record<string, unknown>> = {}): Resolved {
  const { cache, loopback, mountFlags, ...rest } = given
  const options = attributeOptions('btrfs', rest)
  if (options.attributes === 'sidecar') {
    throw new TypeError(
      "btrfs: attributes must be 'native' or 'override'; 'sidecar' is for file systems without xattrs",
    )
  }
  if (cache !== undefined && (typeof cache !== 'number' || !(cache > 0))) {
    throw new TypeError('btrfs: cache must be a positive number of bytes')
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
  throw new TypeError("btrfs: loopback must be an object with a size, for example { size: '20G' }")
}
