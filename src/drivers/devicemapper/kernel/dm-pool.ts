import { StoreError, storeError } from '../../../errors.js'
import { isErrno } from '../../../errors.js'
import { blockDevicePath } from '../../../sys/block-device.js'
import {
  createDmDevice,
  dmStatus,
  dmTable,
  removeDmDevice,
  replaceDmTable,
  sendDmMessage,
  type DmTarget,
} from '../../../sys/dm.js'
import type { Backing, DeviceNumbers, OpenBacking } from './backing.js'
import { thinBlockSectors } from './thin-superblock.js'

const SECTOR = 512n
const METADATA_BLOCK = 4096n
/** The kernel uses no more than this many metadata blocks. */
const MOST_METADATA = 255n << 14n
/** Below this many free data blocks, the kernel notifies listeners. Same value as Docker. */
const LOW_WATER = 32768
const FEATURES = ['skip_block_zeroing', 'error_if_no_space']

export interface PoolStatus {
  readonly transactionId: number
  /** In blocks of 4 KiB. */
  readonly metadata: { readonly used: bigint; readonly total: bigint }
  /** In blocks of the pool. */
  readonly data: { readonly used: bigint; readonly total: bigint }
  /** No data block is free: writes fail until the pool grows or something is removed. */
  readonly isFull: boolean
}

/**
 * The thin pool of a root, a device of the kernel. It holds thin devices by number, each a snapshot of another. A pool
 * of the driver's own is created on its backing if it is missing, and removed by its last user. A pool named by the
 * caller must already exist.
 */
export class DmPool {
  readonly name: string
  readonly #backing: Backing | undefined
  readonly #blockSectors: number
  readonly #readOnly: boolean
  #device: DeviceNumbers | undefined
  #seen = false

  /**
   * @param backing undefined for a pool named by the caller
   * @param blockSectors used if the pool has yet to be created
   */
  constructor(name: string, backing: Backing | undefined, blockSectors: number, readOnly: boolean) {
    this.name = name
    this.#backing = backing
    this.#blockSectors = blockSectors
    this.#readOnly = readOnly
  }

  get isOurs(): boolean {
    return this.#backing !== undefined
  }

  /** Creates the pool if it is missing and has a backing. */
  ensure(): PoolStatus {
    const there = dmStatus(this.name)
    if (there !== undefined && this.#isOnItsBacking()) return this.#read(there)
    if (this.#backing === undefined) throw missing(this.name)
    if (!this.#readOnly) this.#backing.make()
    const open = this.#backing.open(this.#readOnly)
    try {
      const { major, minor } = open.metadata
      const made = thinBlockSectors(blockDevicePath(major, minor))
      createDmDevice(this.name, this.#target(open, made ?? this.#blockSectors))
    } catch (error) {
      this.#backing.retire()
      throw isErrno(error, 'EINVAL', 'EIO', 'EILSEQ', 'ENODATA', 'ENOTBLK') ? damaged(error) : error
    } finally {
      open.close()
    }
    return this.status()
  }

  /**
   * Guards against a stale pool with the same name, left by a root that was removed while in use: its directory had the
   * inode number that this root's directory has now.
   */
  #isOnItsBacking(): boolean {
    if (this.#seen || this.#backing === undefined) return true
    this.#seen = this.#backing.isBelow(this.table().metadata)
    if (this.#seen) return true
    try {
      removeDmDevice(this.name)
      return false
    } catch (error) {
      throw storeError(
        error,
        'STORE_FOREIGN',
        `${this.name} is the pool of a root that no longer exists`,
        STALE_HINT,
      )
    }
  }

  /** Grows the pool to the size of its backing. Writes that wait for space then continue. */
  grow(): void {
    if (this.#backing === undefined) return
    const { metadata, data, blockSectors, sectors } = this.table()
    const { dataSize, metadataSize } = this.#backing.grow({ metadata, data })
    const isMore = min(metadataSize / METADATA_BLOCK, MOST_METADATA) > this.status().metadata.total
    if (dataSize / SECTOR <= sectors && !isMore) return
    replaceDmTable(this.name, this.#target({ metadata, data, dataSize }, blockSectors))
  }

  status(): PoolStatus {
    const there = dmStatus(this.name)
    if (there === undefined) throw missing(this.name)
    return this.#read(there)
  }

  #read({ device, target: { type, parameters } }: NonNullable<ReturnType<typeof dmStatus>>): PoolStatus {
    if (type !== 'thin-pool') {
      throw new StoreError(
        'ENGINE_UNSUPPORTED',
        `${this.name} is not a thin pool, but a device of type ${type}`,
        {
          hint: POOL_HINT,
        },
      )
    }
    this.#device = device
    const match = STATUS.exec(parameters)
    if (match === null) throw damaged(new Error(`unexpected status of the thin pool: ${parameters}`))
    const [, transaction, metadataUsed = '', metadataTotal = '', used = '', total = '', mode = ''] = match
    return {
      transactionId: Number(transaction),
      metadata: { used: BigInt(metadataUsed), total: BigInt(metadataTotal) },
      data: { used: BigInt(used), total: BigInt(total) },
      isFull: mode !== 'rw' || used === total,
    }
  }

  table(): {
    readonly metadata: DeviceNumbers
    readonly data: DeviceNumbers
    readonly blockSectors: number
    readonly sectors: bigint
  } {
    const { parameters, sectors } = dmTable(this.name)
    const [metadata = '', data = '', blockSectors = ''] = parameters.split(' ')
    return {
      metadata: numbersOf(metadata),
      data: numbersOf(data),
      blockSectors: Number(blockSectors),
      sectors,
    }
  }

  /** Throws `EEXIST` if the number is taken. */
  createThin(deviceId: number): void {
    sendDmMessage(this.name, `create_thin ${deviceId}`)
  }

  /** The origin must be suspended or not in use. */
  createSnapshot(deviceId: number, originId: number): void {
    sendDmMessage(this.name, `create_snap ${deviceId} ${originId}`)
  }

  /** Throws `EBUSY` while the device is in use. A no-op if it does not exist. */
  deleteThin(deviceId: number): void {
    try {
      sendDmMessage(this.name, `delete ${deviceId}`)
    } catch (error) {
      if (!isErrno(error, 'ENODATA')) throw error
    }
  }

  setTransactionId(from: number, to: number): void {
    sendDmMessage(this.name, `set_transaction_id ${from} ${to}`)
  }

  /** Makes a thin device of an existing pool available as a block device. */
  activate(name: string, deviceId: number, size: number, readOnly: boolean): DeviceNumbers {
    const pool = this.#device
    if (pool === undefined) throw missing(this.name)
    const parameters = `${pool.major}:${pool.minor} ${deviceId}`
    try {
      const target = { start: 0n, sectors: BigInt(size) / SECTOR, type: 'thin', parameters }
      return createDmDevice(name, target, { readOnly })
    } catch (error) {
      if (!isErrno(error, 'EINVAL', 'ENODATA')) throw error
      throw new StoreError('STORE_FOREIGN', `the pool ${this.name} has no device ${deviceId}`, {
        cause: error,
        hint: 'check that this is the pool that the root was made with',
      })
    }
  }

  /** Removes the pool unless it is in use. */
  retire(): void {
    if (this.#backing === undefined) return
    try {
      if (removeDmDevice(this.name)) this.#backing.retire()
    } catch (error) {
      if (!isErrno(error, 'EBUSY')) throw error
    }
  }

  #target({ metadata, data, dataSize }: Omit<OpenBacking, 'close'>, blockSectors: number): DmTarget {
    const features = this.#readOnly ? [...FEATURES, 'read_only'] : FEATURES
    return {
      start: 0n,
      sectors: dataSize / SECTOR,
      type: 'thin-pool',
      parameters: [
        `${metadata.major}:${metadata.minor}`,
        `${data.major}:${data.minor}`,
        blockSectors,
        LOW_WATER,
        features.length,
        ...features,
      ].join(' '),
    }
  }
}

const STATUS = /^(\d+) (\d+)\/(\d+) (\d+)\/(\d+) \S+ (\S+)/
const STALE_HINT =
  'end the programs that use it (dmsetup ls --tree shows its devices), and remove it with dmsetup remove'
const POOL_HINT = 'name a thin pool with dm.thinpooldev; dmsetup ls --target thin-pool lists the thin pools'

function numbersOf(text: string): DeviceNumbers {
  const [major, minor] = text.split(':').map(Number)
  return { major: major ?? 0, minor: minor ?? 0 }
}

function min(one: bigint, other: bigint): bigint {
  return one < other ? one : other
}

function missing(name: string): StoreError {
  return new StoreError('ENGINE_UNSUPPORTED', `no such thin pool: ${name}`, { hint: POOL_HINT })
}

function damaged(cause: unknown): unknown {
  return storeError(
    cause,
    'STORE_CORRUPT',
    'cannot open the thin pool: its metadata or data is truncated or damaged',
    'run thin_check on the metadata; thin_repair writes what can be saved into a new file',
  )
}
