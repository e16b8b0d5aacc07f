import { mountFlagsOf, type MountOptions } from '../mount-flags.js'
import { bytesOf } from '../size.js'

/** The driver's own options (`driverOptions`); those with a dot have Docker's names (`dockerd --storage-opt`). */
export interface DeviceMapperOptions extends MountOptions {
  /**
   * Of the userspace engine: bytes of trees that are kept in memory, those of the pool and of all layers that are open
   * together; 64 KiB more for each layer where that is too little. Less is slower, more is faster only for trees that are
   * larger. In one process the first who opens a root sets it.
   * @default 64 MiB
   */
  readonly cache?: number
  /**
   * The size of layers, unless `storageOptions.size` says more for one. On a root that has one already, a larger one
   * makes later layers of no parent larger, and a smaller one is refused.
   * @default '10G'
   */
  readonly 'dm.basesize'?: string
  /**
   * The size of the sparse file for data: the most that all layers take. A larger one than the file has lets it grow.
   * @default '100G'
   */
  readonly 'dm.loopdatasize'?: string
  /** Likewise for the file with the pool's own metadata. @default '2G' */
  readonly 'dm.loopmetadatasize'?: string
  /** The least that is shared or copied: 64K to 1G, a multiple of 64K; a pool that is there keeps its own. @default '64K' */
  readonly 'dm.blocksize'?: string
  /** @default xfs where there is mkfs.xfs and the kernel knows it, else ext4 */
  readonly 'dm.fs'?: FileSystemType
  /** More arguments for mkfs. */
  readonly 'dm.mkfsarg'?: string | readonly string[]
  /** More mount options, comma separated. */
  readonly 'dm.mountopt'?: string
  /** A thin pool to use, by its name or its path in /dev/mapper: it must be empty, or the one that this root had. */
  readonly 'dm.thinpooldev'?: string
  /** A block device to make a pool on. One that holds data is refused. */
  readonly 'dm.directlvm_device'?: string
  /** Takes the block device, whatever it holds. @default false */
  readonly 'dm.directlvm_device_force'?: boolean | 'true' | 'false'
  /** No layer is made when less than this is free, of data or of metadata. @default '10%' */
  readonly 'dm.min_free_space'?: string
  /** A device that is still in use is removed when its last user is gone. @default true */
  readonly 'dm.use_deferred_removal'?: boolean | 'true' | 'false'
  /** A layer that is still in use somewhere is deleted later. @default true */
  readonly 'dm.use_deferred_deletion'?: boolean | 'true' | 'false'
  /** The space of a removed layer is given back to what is below the pool. @default true for loop files, else false */
  readonly 'dm.blkdiscard'?: boolean | 'true' | 'false'
  /** How often XFS tries again where the pool is full, before it gives its mount up. @default '0' */
  readonly 'dm.xfs_nospace_max_retries'?: string
}

export type FileSystemType = 'xfs' | 'ext4'

/** The options, checked, with what was not given as it is by default. */
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
  /** `MS_*` */
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

/** Throws `TypeError` for what is no option, or no value for it. */
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
    throw new TypeError('devicemapper: dm.thinpooldev and dm.directlvm_device exclude one another')
  }
  if (resolved.deferredDeletion && !deferredRemoval) {
    throw new TypeError('devicemapper: dm.use_deferred_deletion needs dm.use_deferred_removal')
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
  return new TypeError(`devicemapper: ${name} cannot be ${JSON.stringify(value)}`)
}
