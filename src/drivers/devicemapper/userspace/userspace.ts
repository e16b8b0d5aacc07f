import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { BLOCK } from '../../../cow/block.js'
import { checkStore } from '../../../cow/check.js'
import { DamagedBlock } from '../../../cow/damage.js'
import { VolumeFs, type Lineage } from '../../../cow/volume-fs.js'
import { makeDirectory } from '../../../durable/make-directory.js'
import { StoreError } from '../../../errors.js'
import type { ThinMetadata } from '../../../thin/thin-metadata.js'
import type { ThinPool } from '../../../thin/thin-pool.js'
import type { CreateOptions, Damage, DriverCapabilities } from '../../driver.js'
import { isThereAlready, noLayer } from '../../refusals.js'
import { sizeOption } from '../../size.js'
import type { LayerVolumes, OpenVolume } from '../../volume-driver.js'
import { BASE, nameOf, type DeviceMapperLayout, type DeviceRecord, type OriginRecord } from '../layout.js'
import { DEFAULT_BASE_SIZE, DEFAULT_DATA_SIZE, DEFAULT_METADATA_SIZE, type Resolved } from '../options.js'
import { noDevice, shareThinFiles, type ThinFiles } from './thin-files.js'

export interface ThinVolumesSettings {
  readonly layout: DeviceMapperLayout
  readonly lockFile: string
  readonly reserveFile: string
  readonly options: Resolved
  readonly readOnly: boolean
}

/** Recorded in place of xfs or ext4 if the layers use this library's file system. */
export const OUR_FILE_SYSTEM = 'layerstack'
/** The one volume in a device's file system. */
const VOLUME = 'layer'
const SECTOR = 512
const LAST_DEVICE_ID = 0xffffff
/** Tries to open a layer that other processes are making or removing. */
const MOST_TRIES = 3

/**
 * Layers as thin devices of a pool in two sparse files, each with this library's own file system. All begin as
 * snapshots of the base device.
 *
 * A transaction makes or deletes one device:
 *
 * 1. `transaction-metadata` names the device and the pool's next transaction number.
 * 2. The file of a new device is written.
 * 3. The pool changes and takes the number, in one step in memory. A view of another device may commit the pool at any
 *    moment: it publishes both or neither.
 * 4. The file of a deleted device is removed.
 * 5. The pool is committed.
 *
 * After a crash, a number ahead of the pool's means that step 3 is not on disk. Deleting the device undoes its making
 * or finishes its deletion. If the number equals the pool's, at most step 4 is missing. Recovery may be repeated.
 */
export class ThinVolumes implements LayerVolumes {
  readonly capabilities: DriverCapabilities = {
    hostPath: false,
    cheapSnapshots: true,
    sharesBlocks: true,
    nativeDiff: true,
    quota: true,
    maxDepth: Infinity,
    nativeAttributes: true,
  }
  readonly #layout: DeviceMapperLayout
  readonly #lockFile: string
  readonly #reserveFile: string
  readonly #options: Resolved
  readonly #readOnly: boolean
  #shared: ReturnType<typeof shareThinFiles> | undefined

  constructor({ layout, lockFile, reserveFile, options, readOnly }: ThinVolumesSettings) {
    this.#layout = layout
    this.#lockFile = lockFile
    this.#reserveFile = reserveFile
    this.#options = options
    this.#readOnly = readOnly
  }

  async idsOnDisk(): Promise<string[]> {
    return this.#layout.idsOnDisk()
  }

  tidy(): Promise<void> {
    return this.#layout.tidy()
  }

  /** Creates the pool and its base if they are missing, and clears what a crash left. */
  async recover(): Promise<void> {
    if (this.#readOnly) return
    await this.#layout.make()
    await makeDirectory(dirname(this.#lockFile), { mode: 0o710 })
    await this.#files().change(async (pool) => {
      await this.#recover(pool)
      await this.#dropUnnamed(pool)
      const base = this.#base
      if (base?.initialized !== true || !pool.metadata.has(base.deviceId)) await this.#makeBase(pool, base)
      else await this.#keepBase(base)
    })
    for (const { name, record } of [...this.#layout.devices()])
      if (record.deleted) await this.#reap(name, record)
  }

  async exists(id: string): Promise<boolean> {
    return this.#layout.has(id)
  }

  async list(): Promise<string[]> {
    return this.#layout.layers()
  }

  async create(id: string, parent: string | undefined, options: CreateOptions): Promise<void> {
    const wanted = sizeOption('devicemapper', options)
    await this.#files().change(async (pool) => {
      await this.#recover(pool)
      const name = nameOf(id)
      const there = this.#layout.device(name)
      if (there?.deleted === false) throw isThereAlready(id)
      if (there !== undefined) await this.#delete(pool, name, there)
      const origin = this.#layout.device(parent === undefined ? BASE : nameOf(parent))
      if (origin === undefined || origin.deleted) throw noLayer('devicemapper', parent ?? BASE)
      if (!pool.metadata.has(origin.deviceId)) throw noDevice(origin.deviceId, this.#layout)
      const size = wanted ?? BigInt(origin.size)
      if (size < origin.size) throw tooSmall(size, origin.size)
      this.#mustHaveSpace(pool)
      await this.#files().syncDevice(origin.deviceId)
      await this.#make(pool, name, Number(size), origin)
    })
  }

  async open(id: string, options: { readOnly: boolean; volatile: boolean }): Promise<OpenVolume> {
    const record = this.#layout.layer(id)
    if (record === undefined) throw noLayer('devicemapper', id)
    const files = this.#files()
    const store = await files.device(record)
    try {
      const volume = store.volume(VOLUME)
      if (volume === undefined) throw noFileSystem(id)
      const syncFs = new VolumeFs(store, volume, {
        ...options,
        number: record.deviceId,
        lineage: lineageOf(record),
      })
      const close = async (): Promise<void> => {
        syncFs.close()
        await files.closeDevice(record.deviceId)
      }
      return { syncFs, close }
    } catch (error) {
      await files.closeDevice(record.deviceId)
      throw error
    }
  }

  async remove(id: string): Promise<void> {
    await this.#files().changeUrgently(async (pool) => {
      await this.#recover(pool)
      const name = nameOf(id)
      if (this.#layout.isDamaged(name)) return this.#layout.dropDevice(name)
      const record = this.#layout.device(name)
      if (record === undefined) await pool.commitLater()
      else await this.#delete(pool, name, record)
    })
  }

  async rename(id: string, newId: string): Promise<void> {
    await this.#layout.renameDevice(nameOf(id), nameOf(newId))
  }

  async sync(): Promise<void> {
    await this.#shared?.files.sync()
  }

  async status(): Promise<[key: string, value: string][]> {
    const rows: [string, string][] = [
      ['Data file', this.#layout.dataFile],
      ['Metadata file', this.#layout.metadataFile],
      ['Base Device Size', bytes(this.#base?.size ?? 0)],
      ['Backing Filesystem', OUR_FILE_SYSTEM],
    ]
    if (!existsSync(this.#layout.metadataFile)) return rows
    const pool = await this.#files().pool()
    const { blockSize, status } = pool.consistently((now) => ({
      blockSize: now.blockSize,
      status: now.status,
    }))
    return [
      ['Pool Blocksize', bytes(blockSize)],
      ...rows,
      ['Data Space Used', bytes(status.data.used * blockSize)],
      ['Data Space Total', bytes(status.data.total * blockSize)],
      ['Metadata Space Used', bytes(status.metadata.used * BLOCK)],
      ['Metadata Space Total', bytes(status.metadata.total * BLOCK)],
    ]
  }

  async metadata(id: string): Promise<Record<string, string>> {
    const { deviceId, size } = this.#layout.layer(id) as DeviceRecord
    return { DeviceId: String(deviceId), DeviceSize: String(size), DeviceName: nameOf(id) }
  }

  async check(signal: AbortSignal | undefined): Promise<Damage[]> {
    if (!existsSync(this.#layout.metadataFile)) return []
    const found = await this.#checkCounts()
    for (const layer of this.#layout.layers()) found.push(...(await this.#checkDevice(layer, signal)))
    return found
  }

  async close(): Promise<void> {
    const shared = this.#shared
    this.#shared = undefined
    await shared?.release()
  }

  /**
   * A layer that cannot be opened may be one that another process is making or removing. It counts as damaged if it
   * still cannot be opened after that transaction.
   */
  async #checkDevice(layer: string, signal: AbortSignal | undefined): Promise<Damage[]> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#damageIn(layer, signal)
      } catch (error) {
        signal?.throwIfAborted()
        if (this.#readOnly || tries === MOST_TRIES) return [damageOf(error, this.#layout.dataFile, layer)]
        await this.#files().change(async () => undefined)
      }
    }
  }

  async #damageIn(layer: string, signal: AbortSignal | undefined): Promise<Damage[]> {
    const record = this.#layout.layer(layer)
    if (record === undefined) return []
    const store = await this.#files().device(record)
    try {
      const findings = await checkStore(store, signal)
      const path = this.#layout.dataFile
      return findings.map(({ block, what }) => ({ path, layer, detail: `block ${block}: ${what}` }))
    } finally {
      await this.#files().closeDevice(record.deviceId)
    }
  }

  /** Loads the pool's counts, which plain reads do not need. */
  async #checkCounts(): Promise<Damage[]> {
    try {
      const pool = await this.#files().pool()
      pool.consistently((metadata) => metadata.loadCounts())
      return []
    } catch (error) {
      return [damageOf(error, this.#layout.metadataFile)]
    }
  }

  /** A damaged file counts as missing, since another base can be made. */
  get #base(): DeviceRecord | undefined {
    return this.#layout.isDamaged(BASE) ? undefined : this.#layout.device(BASE)
  }

  #files(): ThinFiles {
    if (this.#shared === undefined) {
      const { loopDataSize, loopMetadataSize, blockSize, cache } = this.#options
      const bytesOfBlock = blockSize * SECTOR
      const geometry = {
        blockSize: bytesOfBlock,
        dataBlocks: Number((loopDataSize ?? DEFAULT_DATA_SIZE) / BigInt(bytesOfBlock)),
        metadataBlocks: Number((loopMetadataSize ?? DEFAULT_METADATA_SIZE) / BigInt(BLOCK)),
      }
      this.#shared = shareThinFiles({
        layout: this.#layout,
        lockFile: this.#lockFile,
        reserveFile: this.#reserveFile,
        geometry,
        readOnly: this.#readOnly,
        cache,
      })
    }
    return this.#shared.files
  }

  /** Undoes or finishes the transaction that a dead process left open. */
  async #recover({ metadata }: ThinPool): Promise<void> {
    const open = this.#layout.transaction()
    if (open === undefined || open.id < metadata.transactionId) return
    const record = this.#layout.isDamaged(open.name) ? undefined : this.#layout.device(open.name)
    if (open.id === metadata.transactionId) {
      const isDeleted = record?.deviceId === open.deviceId && !metadata.has(open.deviceId)
      if (isDeleted) await this.#layout.dropDevice(open.name)
      return
    }
    if (deletes(metadata, open.deviceId)) {
      if (record === undefined || record.deviceId === open.deviceId) await this.#layout.dropDevice(open.name)
    }
    await this.#layout.dropTransaction()
  }

  /** Deletes the device of the last transaction if no file names it: making it failed after it was in the pool. */
  async #dropUnnamed({ metadata }: ThinPool): Promise<void> {
    const open = this.#layout.transaction()
    if (open === undefined || !metadata.has(open.deviceId)) return
    for (const name of this.#layout.names()) {
      const record = this.#layout.isDamaged(name) ? undefined : this.#layout.device(name)
      // A file that names no device of the pool is damaged. It may be the file of this device.
      if (record === undefined || record.deviceId === open.deviceId || !metadata.has(record.deviceId)) return
    }
    deletes(metadata, open.deviceId)
  }

  async #makeBase(pool: ThinPool, half: DeviceRecord | undefined): Promise<void> {
    if (half !== undefined) await this.#delete(pool, BASE, half)
    const size = Number(this.#options.baseSize ?? half?.size ?? DEFAULT_BASE_SIZE)
    const record = await this.#make(pool, BASE, size)
    const store = await this.#files().device(record, true)
    try {
      store.create(VOLUME)
      await store.commit()
    } finally {
      await this.#files().closeDevice(record.deviceId)
    }
    await this.#saveSet(record)
    await this.#layout.saveDevice(BASE, { ...record, initialized: true })
  }

  async #saveSet({ deviceId, ...base }: DeviceRecord): Promise<void> {
    const { id } = await this.#files().device({ deviceId, ...base })
    await this.#files().closeDevice(deviceId)
    await this.#layout.saveSet({
      nextDeviceId: deviceId,
      baseUuid: id.toString(16),
      baseFileSystem: OUR_FILE_SYSTEM,
    })
  }

  async #keepBase(base: DeviceRecord): Promise<void> {
    if (this.#layout.set().baseFileSystem !== OUR_FILE_SYSTEM) await this.#saveSet(base)
    if (this.#options.baseSize !== undefined) await this.#growBase(base, this.#options.baseSize)
  }

  /** Deletes a device marked for deletion. Damaged devices stay. */
  async #reap(name: string, record: DeviceRecord): Promise<void> {
    try {
      await this.#files().change((pool) => this.#delete(pool, name, record))
    } catch (error) {
      if (!(error instanceof DamagedBlock)) throw error
    }
  }

  /** Updating the record is enough: the file system uses its device's size, and no layer needs the old size. */
  async #growBase(base: DeviceRecord, size: bigint): Promise<void> {
    if (size < base.size) throw tooSmall(size, base.size)
    if (size > base.size) await this.#layout.saveDevice(BASE, { ...base, size: Number(size) })
  }

  async #make(pool: ThinPool, name: string, size: number, from?: DeviceRecord): Promise<DeviceRecord> {
    const { metadata } = pool
    const id = metadata.transactionId + 1
    const deviceId = this.#freeDeviceId(pool)
    const origin = from && (await this.#originOf(from))
    const record = { deviceId, size, transactionId: id, initialized: false, deleted: false, origin }
    await this.#layout.saveTransaction({ id, name, deviceId })
    try {
      await this.#layout.saveDevice(name, record)
      metadata.transact(id, () => {
        if (from === undefined) metadata.createThin(deviceId)
        else metadata.createSnapshot(deviceId, from.deviceId)
      })
      await pool.commitLater()
      return record
    } catch (error) {
      try {
        if (metadata.has(deviceId)) metadata.transact(id - 1, () => metadata.deleteThin(deviceId))
      } finally {
        await this.#layout.dropDevice(name)
      }
      throw error
    }
  }

  /**
   * The state of a device just before it is snapshotted; `undefined` if it cannot be read. A view may keep writing
   * until the snapshot, so the generation may be earlier than the snapshot's. A diff then reads more.
   */
  async #originOf(from: DeviceRecord): Promise<OriginRecord | undefined> {
    const generation = await this.#files().generationOf(from)
    return generation === undefined
      ? undefined
      : { deviceId: from.deviceId, transactionId: from.transactionId, generation }
  }

  async #delete(pool: ThinPool, name: string, { deviceId }: DeviceRecord): Promise<void> {
    const { metadata } = pool
    const id = metadata.transactionId + 1
    await this.#layout.saveTransaction({ id, name, deviceId })
    try {
      metadata.transact(id, () => metadata.deleteThin(deviceId))
    } catch (error) {
      await this.#layout.dropTransaction()
      throw error
    }
    await this.#layout.dropDevice(name)
    await pool.commitLater()
  }

  /** Returns the next free number after the last one taken. */
  #freeDeviceId({ metadata }: ThinPool): number {
    const last = this.#layout.transaction()?.deviceId ?? this.#layout.set().nextDeviceId
    for (let tries = 1; tries <= LAST_DEVICE_ID; tries++) {
      const id = (last + tries) & LAST_DEVICE_ID
      if (!metadata.has(id)) return id
    }
    throw new StoreError('NO_SPACE', 'the thin pool has no free device number', { hint: 'remove layers' })
  }

  #mustHaveSpace({ metadata }: ThinPool): void {
    const percent = Number(this.#options.minimumFreePercent)
    if (percent === 0) return
    for (const [what, { used, total }] of Object.entries(metadata.status)) {
      const least = Math.max(1, Math.floor((total * percent) / 100))
      if (total - used >= least) continue
      throw new StoreError(
        'NO_SPACE',
        `the thin pool has ${total - used} free ${what} blocks, and must keep ${least} free`,
        { hint: 'remove layers, let the pool grow (dm.loopdatasize), or set dm.min_free_space' },
      )
    }
  }
}

/** Returns whether the device is no longer in the pool. Damaged devices stay. */
function deletes(metadata: ThinMetadata, deviceId: number): boolean {
  try {
    metadata.deleteThin(deviceId)
    return true
  } catch (error) {
    if (error instanceof DamagedBlock) return false
    throw error
  }
}

function lineageOf({ origin, ...device }: DeviceRecord): Lineage {
  return {
    identity: identityOf(device),
    origin: origin && { identity: identityOf(origin), generation: origin.generation },
  }
}

/** Device numbers are reused; transactions tell the devices apart. */
function identityOf({ deviceId, transactionId }: Pick<DeviceRecord, 'deviceId' | 'transactionId'>): string {
  return `${deviceId} of ${transactionId}`
}

function bytes(count: number): string {
  return `${count} B`
}

function damageOf(error: unknown, path: string, layer?: string): Damage {
  const { message: detail, path: where } = error as Error & { readonly path?: string }
  return { path: error instanceof StoreError && where !== undefined ? where : path, layer, detail }
}

function noFileSystem(id: string): StoreError {
  return new StoreError(
    'STORE_CORRUPT',
    `the device of layer ${id} has no file system of the userspace engine`,
  )
}

function tooSmall(size: bigint, least: number): StoreError {
  return new StoreError(
    'ENGINE_UNSUPPORTED',
    `a size of ${size} bytes is too small for the layer: the minimum is ${least}`,
    {
      hint: 'a layer is at least as large as its parent and the base device; for a new root, dm.basesize sets the size of the base device',
    },
  )
}
