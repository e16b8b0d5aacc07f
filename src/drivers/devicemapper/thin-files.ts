import { realpathSync } from 'node:fs'
import { BLOCK, type BlockDevice } from '../../cow/block.js'
import { loadChecksum, type Checksum } from '../../cow/checksum.js'
import { FileDevice } from '../../cow/file-device.js'
import { CowStore } from '../../cow/store.js'
import { Lock } from '../../durable/lock.js'
import { Turns } from '../../durable/turns.js'
import { ThinMetadata, type PoolGeometry } from '../../thin/thin-metadata.js'
import { ThinPool } from '../../thin/thin-pool.js'
import type { DeviceMapperLayout, DeviceRecord } from './layout.js'

/** For others of this process, in ms: as long as it takes. */
const PATIENCE = 1 << 30

/** The file system of a thin device. */
interface OpenDevice {
  readonly store: CowStore
  users: number
}

/**
 * The files of a root's pool, as one process has them. While somebody uses the pool, no other process does.
 *
 * 1. The lock is taken by the first user, who sees whether another process changed the pool meanwhile, and given up by
 *    the last one, after all is on disk.
 * 2. A device is open once, however many views it has.
 */
export class ThinFiles {
  readonly #layout: DeviceMapperLayout
  readonly #lockFile: string
  readonly #geometry: PoolGeometry
  readonly #readOnly: boolean
  readonly #turns = new Turns()
  readonly #changes = new Turns()
  readonly #devices = new Map<number, OpenDevice>()
  #files: { readonly metadata: FileDevice; readonly data: FileDevice } | undefined
  #pool: ThinPool | undefined
  #superblock: Buffer = Buffer.alloc(0)
  #lock: Lock | undefined
  #users = 0
  #checksum: Checksum | undefined

  constructor(layout: DeviceMapperLayout, lockFile: string, geometry: PoolGeometry, readOnly: boolean) {
    this.#layout = layout
    this.#lockFile = lockFile
    this.#geometry = geometry
    this.#readOnly = readOnly
  }

  /** Does what needs the pool. */
  async use<T>(work: (pool: ThinPool) => Promise<T>): Promise<T> {
    const leave = await this.enter()
    try {
      return await work(this.pool)
    } finally {
      await leave()
    }
  }

  /** Does what makes or deletes devices: one such work at a time. */
  async change<T>(work: (pool: ThinPool) => Promise<T>): Promise<T> {
    await this.#changes.take(PATIENCE, undefined)
    try {
      return await this.use(work)
    } finally {
      this.#changes.next()
    }
  }

  /** The pool is there until what this gives is called. */
  async enter(): Promise<() => Promise<void>> {
    await this.#inTurn(async () => {
      if (this.#users === 0) await this.#begin()
      this.#users++
    })
    let left = false
    return async () => {
      if (left) return
      left = true
      await this.#inTurn(async () => {
        if (--this.#users === 0) await this.#end()
      })
    }
  }

  get pool(): ThinPool {
    if (this.#pool === undefined) throw new Error('nobody uses the pool')
    return this.#pool
  }

  /** Opens a device's file system, or what is open already; on a new device it is made. The pool is in use. */
  device({ deviceId, size }: DeviceRecord, isNew = false): CowStore {
    let open = this.#devices.get(deviceId)
    if (open === undefined) {
      const device = this.pool.device(deviceId, size)
      open = { store: this.#openStore(device, !isNew), users: 0 }
      this.#devices.set(deviceId, open)
    }
    open.users++
    return open.store
  }

  async closeDevice(deviceId: number): Promise<void> {
    const open = this.#devices.get(deviceId)
    if (open === undefined || --open.users > 0) return
    this.#devices.delete(deviceId)
    await open.store.close()
  }

  /** What was written to a device is in the pool. */
  async settleDevice(deviceId: number): Promise<void> {
    await this.#devices.get(deviceId)?.store.commit()
  }

  async settle(): Promise<void> {
    for (const { store } of [...this.#devices.values()]) await store.commit()
  }

  close(): void {
    this.#files?.metadata.close()
    this.#files?.data.close()
    this.#files = undefined
    this.#pool = undefined
  }

  async #begin(): Promise<void> {
    this.#checksum ??= await loadChecksum()
    if (!this.#readOnly) this.#lock = await this.#acquire()
    try {
      this.#files ??= {
        metadata: new FileDevice(this.#layout.metadataFile, { readOnly: this.#readOnly }),
        data: new FileDevice(this.#layout.dataFile, { readOnly: this.#readOnly }),
      }
      const { metadata, data } = this.#files
      if (this.#pool === undefined || !this.#superblock.equals(superblockOf(metadata))) {
        this.#pool = new ThinPool(ThinMetadata.open(metadata, this.#geometry, this.#readOnly), data)
      }
    } catch (error) {
      await this.#giveUp()
      throw error
    }
  }

  /** Whoever is next holds a lock for that, so that a process which uses the pool all the time lets others in. */
  async #acquire(): Promise<Lock> {
    await using _next = await Lock.acquire(`${this.#lockFile}.next`)
    return await Lock.acquire(this.#lockFile)
  }

  async #end(): Promise<void> {
    try {
      if (!this.#readOnly) await this.#pool?.commitLater()
    } catch (error) {
      // What is in memory is not what is on disk any more.
      this.#pool = undefined
      throw error
    } finally {
      await this.#giveUp()
    }
  }

  async #giveUp(): Promise<void> {
    if (this.#files !== undefined) this.#superblock = superblockOf(this.#files.metadata)
    const lock = this.#lock
    this.#lock = undefined
    await lock?.release()
  }

  #openStore(device: BlockDevice, mustExist: boolean): CowStore {
    const checksum = this.#checksum as Checksum
    return CowStore.open(device, { checksum, readOnly: this.#readOnly, mustExist })
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    await this.#turns.take(PATIENCE, undefined)
    try {
      return await work()
    } finally {
      this.#turns.next()
    }
  }
}

/** The files of one root are the same for all drivers in this process; each of them lets go of them. */
export function shareThinFiles(
  layout: DeviceMapperLayout,
  lockFile: string,
  geometry: PoolGeometry,
  readOnly: boolean,
): { readonly files: ThinFiles; release(): void } {
  const key = `${readOnly ? 'r' : 'w'}:${realpathSync(layout.home)}`
  let shared = sharedFiles.get(key)
  if (shared === undefined) {
    shared = { files: new ThinFiles(layout, lockFile, geometry, readOnly), users: 0 }
    sharedFiles.set(key, shared)
  }
  const entry = shared
  entry.users++
  const release = (): void => {
    if (--entry.users > 0) return
    if (sharedFiles.get(key) === entry) sharedFiles.delete(key)
    entry.files.close()
  }
  return { files: entry.files, release }
}

const sharedFiles = new Map<string, { readonly files: ThinFiles; users: number }>()

function superblockOf(metadata: FileDevice): Buffer {
  const block = Buffer.alloc(BLOCK)
  metadata.read(block, 0)
  return block
}
