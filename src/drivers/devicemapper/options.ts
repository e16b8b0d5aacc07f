import { mountFlagsOf, type MountOptions } from '../mount-flags.js'
import { bytesOf } from '../size.js'

/**
 * Options (`driverOptions`) of the `devicemapper` driver. Options with a dot have the names of `dockerd --storage-opt`.
 * Sizes are as in Docker: `10G` is 10 GiB.
 */
export interface DeviceMapperOptions extends MountOptions {
  /**
   * Userspace engine only: bytes of trees kept in memory, for the pool and all open layers together. If that is too
   * little, 64 KiB more for each layer. A smaller cache is slower; a larger one is faster only for larger trees. Within
   * a process, the first open of a root sets it.
   * @default 64 MiB
   */
  readonly cache?: number
  /**
   * The size of layers, unless `storageOptions.size` sets a larger one for a layer. On an existing root, a larger size
   * applies to later layers without a parent, and a smaller size is refused.
   * @default '10G'
   */
  readonly 'dm.basesize'?: string
  /**
   * The size of the sparse data file: the limit for all layers together. A size larger than the file's grows the file.
   * @default '100G'
   */
  readonly 'dm.loopdatasize'?: string
  /** Likewise, the size of the file with the pool's own metadata. @default '2G' */
  readonly 'dm.loopmetadatasize'?: string
  /**
   * The smallest unit that is shared or copied: 64K to 1G, a multiple of 64K. An existing pool keeps its own.
   * @default '64K'
   */
  readonly 'dm.blocksize'?: string
  /**
   * The file system of the layers.
   * @default xfs if mkfs.xfs is installed and the kernel has XFS, else ext4
   */
  readonly 'dm.fs'?: FileSystemType
  /** Additional arguments for mkfs. A string is split at spaces. @default none */
  readonly 'dm.mkfsarg'?: string | readonly string[]
  /** Additional mount options, comma separated. @default none */
  readonly 'dm.mountopt'?: string
  /**
   * A thin pool to use, by its name or its path in /dev/mapper. It must be empty, or the pool that this root had.
   * Excludes `dm.directlvm_device`.
   * @default the pool that the root had, else a pool on sparse files of the root
   */
  readonly 'dm.thinpooldev'?: string
  /**
   * A block device to make a pool on. A device that holds data is refused. Excludes `dm.thinpooldev`.
   * @default the pool that the root had, else a pool on sparse files of the root
   */
  readonly 'dm.directlvm_device'?: string
  /** Uses the block device even if it holds data. @default false */
  readonly 'dm.directlvm_device_force'?: boolean | 'true' | 'false'
  /** Minimum free space, of data and of metadata. Below it, no layer is created. @default '10%' */
  readonly 'dm.min_free_space'?: string
  /** A device that is still in use is removed when its last user closes it. @default true */
  readonly 'dm.use_deferred_removal'?: boolean | 'true' | 'false'
  /**
   * A layer that is still in use somewhere is deleted later. Needs `dm.use_deferred_removal`.
   * @default the value of `dm.use_deferred_removal`
   */
  readonly 'dm.use_deferred_deletion'?: boolean | 'true' | 'false'
  /** Returns the space of a removed layer to the storage below the pool. @default true for loop files, else false */
  readonly 'dm.blkdiscard'?: boolean | 'true' | 'false'
  /** How often XFS retries while the pool is full, before it shuts its mount down. @default '0' */
  readonly 'dm.xfs_nospace_max_retries'?: string
}

/** A file system that the `devicemapper` driver makes on its devices. */
export type FileSystemType = 'xfs' | 'ext4'

/** The checked options, with defaults for those not given. */
export interface Resolved {
  readonly cache: number
  readonly baseSize: bigint | undefined
  readonly loopDataSize: bigint | undefined
  readonly loopMetadataSize: bigint | undefined
  /** In sectors. */
  readonly blockSize: number
  readonly fileSystem: FileSystemType | undefined
  readonly mkfsArguments: readonly string[]
  readonly mountOptions: string
  /** `MS_*` flags. */
  readonly mountFlags: number
  readonly pool: string | undefined
  readonly device: string | undefined
  readonly deviceForce: boolean
  readonly minimumFreePercent: bigint
  readonly deferredRemoval: boolean
  readonly deferredDeletion: boolean
  readonly discard: boolean
  readonly xfsRetries: string
}

const DEFAULT_CACHE = 64 << 20
export const DEFAULT_BASE_SIZE = 10n << 30n
export const DEFAULT_DATA_SIZE = 100n << 30n
export const DEFAULT_METADATA_SIZE = 2n << 30n
const SECTOR = 512n
const BLOCK_UNIT = 64n << 10n
const LARGEST_BLOCK = 1n << 30n

/** Throws `TypeError` for an unknown option or an invalid value. */
export function deviceMapperOptions(given: Readonly<Record<string, unknown>> = {}): Resolved {
  const values = new Map(Object.entries(given).filter(([, value]) => value !== undefined))
  const take = <T>(name: string, read: (value: unknown, name: string) => T): T | undefined => {
    const value = values.get(name)
    values.delete(name)
    return value === undefined ? undefined : read(value, name)
  }
  const pool = take('dm.thinpooldev', text)?.replace(/^\/dev\/mapper\//, '')
  const device = take('dm.directlvm_device', text)
  const deferredRemoval = take('dm.use_deferred_removal', truth) ?? true
  const resolved = {
    cache: take('cache', count) ?? DEFAULT_CACHE,
    baseSize: take('dm.basesize', size),
    loopDataSize: take('dm.loopdatasize', size),
    loopMetadataSize: take('dm.loopmetadatasize', size),
    blockSize: Number((take('dm.blocksize', blockSize) ?? BLOCK_UNIT) / SECTOR),
    fileSystem: take('dm.fs', fileSystem),
    mkfsArguments: take('dm.mkfsarg', words) ?? [],
    mountOptions: take('dm.mountopt', text) ?? '',
    mountFlags: mountFlagsOf(
      'devicemapper',
      take('mountFlags', (value) => value),
    ),
    pool,
    device,
    deviceForce: take('dm.directlvm_device_force', truth) ?? false,
    minimumFreePercent: take('dm.min_free_space', percent) ?? 10n,
    deferredRemoval,
    deferredDeletion: take('dm.use_deferred_deletion', truth) ?? deferredRemoval,
    discard: take('dm.blkdiscard', truth) ?? (pool === undefined && device === undefined),
    xfsRetries: take('dm.xfs_nospace_max_retries', digits) ?? '0',
  }
  for (const name of values.keys()) throw new TypeError(`devicemapper has no option ${name}`)
  if (pool !== undefined && device !== undefined) {
    throw new TypeError('devicemapper: dm.thinpooldev and dm.directlvm_device cannot be used together')
  }
  if (resolved.deferredDeletion && !deferredRemoval) {
    throw new TypeError('devicemapper: dm.use_deferred_deletion requires dm.use_deferred_removal')
  }
  return resolved
}

function count(value: unknown, name: string): number {
  if (typeof value === 'number' && value > 0) return value
  throw wrong(name, value)
}

function text(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw wrong(name, value)
}

function digits(value: unknown, name: string): string {
  if (/^\d+$/.test(String(value))) return String(value)
  throw wrong(name, value)
}

function size(value: unknown, name: string): bigint {
  const bytes = bytesOf(text(value, name))
  if (bytes % SECTOR === 0n) return bytes
  throw wrong(name, value)
}

function blockSize(value: unknown, name: string): bigint {
  const bytes = size(value, name)
  if (bytes % BLOCK_UNIT === 0n && bytes <= LARGEST_BLOCK) return bytes
  throw wrong(name, value)
}

function fileSystem(value: unknown, name: string): FileSystemType {
  if (value === 'xfs' || value === 'ext4') return value
  throw wrong(name, value)
}

function words(value: unknown, name: string): readonly string[] {
  return (Array.isArray(value) ? value : [value]).flatMap((word) => text(word, name).split(/\s+/))
}

function percent(value: unknown, name: string): bigint {
  const number = /^(\d{1,2})%$/.exec(text(value, name))?.[1]
  if (number !== undefined) return BigInt(number)
  throw wrong(name, value)
}

function truth(value: unknown, name: string): boolean {
  if (value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw wrong(name, value)
}

function wrong(name: string, value: unknown): TypeError {
  return new TypeError(`devicemapper: invalid value of ${name}: ${JSON.stringify(value)}`)
}
