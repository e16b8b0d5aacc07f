import { closeSync, constants, fsyncSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { isErrno, StoreError } from '../../../errors.js'
import { blockDeviceSize } from '../../../sys/block-device.js'
import { createDmDevice, dmDevice, removeDmDevice, replaceDmTable, type DmTarget } from '../../../sys/dm.js'
import { deviceMajor, deviceMinor } from '../../../sys/mknod.js'
import type { Backing, DeviceNumbers, OpenBacking } from './backing.js'
import { hasThinSuperblock } from './thin-superblock.js'

const SECTOR = 512n
const EDGE = 1 << 20
const LEAST_METADATA = 2n << 20n
const MOST_METADATA = 16n << 30n

/**
 * A block device used entirely by the pool: first the metadata, a hundredth of the device (2 MiB to 16 GiB), then the
 * data.
 *
 * The content of a device is never overwritten unless forced: a new device must have zeros at its edges.
 */
export class WholeDevice implements Backing {
  readonly #path: string
  readonly #metadataSize: bigint
  readonly #names: { readonly metadata: string; readonly data: string }

  /** @param metadataSize the size chosen when the device was first used */
  constructor(path: string, metadataSize: bigint, prefix: string) {
    this.#path = path
    this.#metadataSize = metadataSize
    this.#names = { metadata: `${prefix}-=metadata`, data: `${prefix}-=data` }
  }

  /** Claims an unused device, which must be empty unless `force`. @returns the size of its metadata */
  static claim(path: string, force: boolean): bigint {
    const fd = openUnused(path)
    try {
      const size = blockDeviceSize(fd)
      const metadataSize = clamp(((size / 100n) >> 20n) << 20n)
      if (size < 2n * metadataSize) throw refused(`${path} is too small for a thin pool`)
      if (!force && !isEmptyAtEdges(fd, size)) {
        throw refused(
          `${path} holds data`,
          'clear it with wipefs -a and blkdiscard -z, or set dm.directlvm_device_force',
        )
      }
      writeSync(fd, Buffer.alloc(EDGE), 0, EDGE, 0)
      fsyncSync(fd)
      return metadataSize
    } finally {
      closeSync(fd)
    }
  }

  make(): void {
    if (!hasThinSuperblock(this.#path) && !startsEmpty(this.#path)) {
      throw new StoreError('STORE_FOREIGN', `${this.#path} is not the device with this root's pool`, {
        path: this.#path,
        hint: 'device names can change after a reboot: use a name in /dev/disk/by-id',
      })
    }
  }

  open(): OpenBacking {
    const metadata = this.#linear(this.#names.metadata, 0n, this.#metadataSize)
    const dataSize = this.#size() - this.#metadataSize
    const data = this.#linear(this.#names.data, this.#metadataSize, dataSize)
    return { metadata, data, dataSize, close: () => undefined }
  }

  isBelow({ major, minor }: DeviceNumbers): boolean {
    const ours = dmDevice(this.#names.metadata)
    return ours?.major === major && ours.minor === minor
  }

  grow(): ReturnType<Backing['grow']> {
    const dataSize = this.#size() - this.#metadataSize
    replaceDmTable(this.#names.data, this.#target(this.#metadataSize, dataSize))
    return { dataSize, metadataSize: this.#metadataSize }
  }

  retire(): void {
    for (const name of Object.values(this.#names)) removeDmDevice(name)
  }

  #linear(name: string, from: bigint, size: bigint): DeviceNumbers {
    const device = dmDevice(name)
    return device?.ready === true ? device : createDmDevice(name, this.#target(from, size))
  }

  #target(from: bigint, size: bigint): DmTarget {
    const { rdev } = statSync(this.#path, { bigint: true })
    const parameters = `${deviceMajor(rdev)}:${deviceMinor(rdev)} ${from / SECTOR}`
    return { start: 0n, sectors: size / SECTOR, type: 'linear', parameters }
  }

  #size(): bigint {
    const fd = openSync(this.#path, 'r')
    try {
      return blockDeviceSize(fd)
    } finally {
      closeSync(fd)
    }
  }
}

/** Opens the device exclusively: it must not be mounted or used by another device. */
function openUnused(path: string): number {
  try {
    if (statSync(path).isBlockDevice()) return openSync(path, constants.O_RDWR | constants.O_EXCL)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EBUSY')) throw error
    throw refused(`${path} ${error.code === 'EBUSY' ? 'is in use' : 'does not exist'}`)
  }
  throw refused(`${path} is not a block device`)
}

function isEmptyAtEdges(fd: number, size: bigint): boolean {
  return [0n, size - BigInt(EDGE)].every((at) => isZero(fd, at, EDGE))
}

function startsEmpty(path: string): boolean {
  const fd = openSync(path, 'r')
  try {
    return isZero(fd, 0n, 4096)
  } finally {
    closeSync(fd)
  }
}

function isZero(fd: number, at: bigint, length: number): boolean {
  const bytes = Buffer.alloc(length)
  readSync(fd, bytes, 0, length, at)
  return bytes.equals(Buffer.alloc(length))
}

function clamp(size: bigint): bigint {
  if (size < LEAST_METADATA) return LEAST_METADATA
  return size > MOST_METADATA ? MOST_METADATA : size
}

function refused(reason: string, hint = 'name an unused block device with dm.directlvm_device'): StoreError {
  return new StoreError('ENGINE_UNSUPPORTED', reason, { hint })
}
