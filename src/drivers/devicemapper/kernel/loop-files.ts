import { closeSync, existsSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { StoreError, storeError } from '../../../errors.js'
import { blockDevicePath, blockDeviceSize } from '../../../sys/block-device.js'
import { attachLoop, growLoop, isLoopOf, type LoopDevice } from '../../../sys/loop.js'
import type { Backing, DeviceNumbers, OpenBacking } from './backing.js'
import type { DeviceMapperLayout } from '../layout.js'
import { DEFAULT_DATA_SIZE, DEFAULT_METADATA_SIZE, type Resolved } from '../options.js'
import { hasThinSuperblock } from './thin-superblock.js'

/**
 * Docker's loop-lvm: the pool uses two sparse files. The loop devices are released with the pool. A missing file is
 * created only while no device is recorded. After that, its content is lost, and an empty file would hide the loss.
 */
export class LoopFiles implements Backing {
  readonly #layout: DeviceMapperLayout
  readonly #options: Resolved

  constructor(layout: DeviceMapperLayout, options: Resolved) {
    this.#layout = layout
    this.#options = options
  }

  make(): void {
    const { dataFile, metadataFile } = this.#layout
    const { loopDataSize, loopMetadataSize } = this.#options
    if (this.#layout.names().length > 0) {
      for (const path of [dataFile, metadataFile]) if (!existsSync(path)) throw lost(path, 'is missing')
      if (!hasThinSuperblock(metadataFile)) throw lost(metadataFile, 'is not the metadata of a thin pool')
    }
    makeSparse(dataFile, loopDataSize, DEFAULT_DATA_SIZE)
    makeSparse(metadataFile, loopMetadataSize, DEFAULT_METADATA_SIZE)
  }

  open(readOnly: boolean): OpenBacking {
    const data = attach(this.#layout.dataFile, readOnly)
    try {
      const metadata = attach(this.#layout.metadataFile, readOnly)
      const close = (): void => [data, metadata].forEach(({ fd }) => closeSync(fd))
      return { metadata, data, dataSize: blockDeviceSize(data.fd), close }
    } catch (error) {
      closeSync(data.fd)
      throw error
    }
  }

  isBelow({ major, minor }: DeviceNumbers): boolean {
    const { metadataFile } = this.#layout
    return existsSync(metadataFile) && isLoopOf(blockDevicePath(major, minor), metadataFile)
  }

  grow(open: Pick<OpenBacking, 'metadata' | 'data'>): ReturnType<Backing['grow']> {
    this.make()
    for (const { major, minor } of [open.metadata, open.data]) growLoop(blockDevicePath(major, minor))
    const { dataFile, metadataFile } = this.#layout
    const sizeOf = (path: string): bigint => statSync(path, { bigint: true }).size
    return { dataSize: sizeOf(dataFile), metadataSize: sizeOf(metadataFile) }
  }

  retire(): void {
    // Loop devices clear themselves.
  }
}

/** Creates a file of that size, or grows an existing one to it. Never shrinks a file. */
function makeSparse(path: string, wanted: bigint | undefined, first: bigint): void {
  if (!existsSync(path)) {
    writeFileSync(path, '', { mode: 0o600 })
    truncateSync(path, Number(wanted ?? first))
  } else if (wanted !== undefined && statSync(path).size < wanted) {
    truncateSync(path, Number(wanted))
  }
}

function attach(file: string, readOnly: boolean): LoopDevice {
  try {
    return attachLoop(file, { readOnly })
  } catch (error) {
    throw storeError(error, 'ENGINE_UNSUPPORTED', `no loop device for ${file}`, LOOP_HINT)
  }
}

const LOOP_HINT =
  'load the kernel module loop and free a loop device, or name a thin pool with dm.thinpooldev'

function lost(path: string, how: string): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} ${how}; it holds the layers`, {
    path,
    hint: 'restore it from a backup; to start afresh, remove devicemapper and image/devicemapper from the root',
  })
}
