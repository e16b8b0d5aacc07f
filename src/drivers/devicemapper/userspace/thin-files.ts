import { existsSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { BLOCK, type BlockDevice } from '../../../cow/block.js'
import { loadChecksum, type Checksum } from '../../../cow/checksum.js'
import { FileDevice } from '../../../cow/file-device.js'
import { openGuard, type FileGuard } from '../../../cow/file-guard.js'
import { acquireGuard } from '../../../cow/guard.js'
import { CowStore } from '../../../cow/store.js'
import { findSuperblock } from '../../../cow/superblock.js'
import { syncDirectory } from '../../../durable/sync-directory.js'
import { Turns } from '../../../durable/turns.js'
import { isNoSpace, StoreError } from '../../../errors.js'
import { lost, type PoolGeometry } from '../../../thin/thin-metadata.js'
import { Reserve, withReserve } from '../../../thin/reserve.js'
import { ThinPool } from '../../../thin/thin-pool.js'
import { BASE, type DeviceMapperLayout, type DeviceRecord } from '../layout.js'

/** How long to wait for other work of this process, in ms: practically without limit. */
const FOREVER = 1 << 30
/** How long this process may keep the pool while another process waits, in ms. */
const LONGEST_HOLD = 100
/** The pool's share of the cache. The open devices get equal shares of the rest. */
const SHARE_OF_POOL = 1 / 8

/** The file system of a thin device. */
interface OpenDevice {
  readonly store: CowStore
  users: number
}

interface OpenPool {
  readonly pool: ThinPool
  readonly reserve: Reserve
  readonly checksum: Checksum
  close(): Promise<void>
}

export interface ThinFilesSettings {
  readonly layout: DeviceMapperLayout
  readonly lockFile: string
  readonly reserveFile: string
  readonly geometry: PoolGeometry
  readonly readOnly: boolean
  /** Bytes of trees kept in memory, for the pool and all open devices together. */
  readonly cache: number
}

/**
 * The files of a root's pool, as used by one process. Processes take turns to change the pool: a process that has
 * written to a device keeps other processes out until it commits.
 *
 * A device is opened once, however many views it has.
 */
export class ThinFiles {
  readonly #settings: ThinFilesSettings
  readonly #turns = new Turns()
  readonly #devices = new Map<number, OpenDevice>()
  readonly #closing = new Map<number, Promise<void>>()
  #opening: Promise<OpenPool> | undefined
  /** Number of multi-step operations in progress. */
  #changing = 0

  constructor(settings: ThinFilesSettings) {
    this.#settings = settings
  }

  async pool(): Promise<ThinPool> {
    return (await this.#open()).pool
  }

  /** Runs work that makes or deletes devices, one at a time across all processes. */
  async change<T>(work: (pool: ThinPool) => Promise<T>): Promise<T> {
    const pool = await this.pool()
    await this.#turns.take(FOREVER, undefined)
    try {
      await this.#acquire(pool)
      this.#changing++
      try {
        return await work(pool)
      } finally {
        this.#changing--
        pool.release()
      }
    } finally {
      this.#turns.next()
    }
  }

  /** Like `change`, for work that frees space but needs a little space to do so. */
  async changeUrgently<T>(work: (pool: ThinPool) => Promise<T>): Promise<T> {
    try {
      return await this.change(work)
    } catch (error) {
      const { reserve } = await this.#open()
      if (!isNoSpace(error) || !reserve.spend()) throw error
      return this.change(work)
    }
  }

  /**
   * Opens a device's file system, or returns the one already open. On a new device, creates it. Rejects with
   * `STORE_CORRUPT` if the pool has no such device.
   */
  async device({ deviceId, size }: DeviceRecord, isNew = false): Promise<CowStore> {
    const { pool, checksum } = await this.#open()
    for (let closing = this.#closing.get(deviceId); closing !== undefined;) {
      await closing.catch(() => undefined)
      closing = this.#closing.get(deviceId)
    }
    let open = this.#devices.get(deviceId)
    if (open === undefined) {
      const { readOnly, layout } = this.#settings
      if (!pool.consistently((metadata) => metadata.has(deviceId))) throw noDevice(deviceId, layout)
      const guard = {
        tryAcquire: () => {
          this.#letOthersIn(pool)
          return pool.tryAcquire()
        },
        release: () => pool.release(),
        forgo: () => pool.forgo(),
        isWanted: () => pool.isWanted,
      }
      const options = { checksum, readOnly, guard, mustExist: !isNew }
      open = { store: CowStore.open(pool.device(deviceId, size), options), users: 0 }
      this.#devices.set(deviceId, open)
      this.#shareCache()
    }
    open.users++
    return open.store
  }

  /** Reads the generation from the device itself, which another process may have written. */
  async generationOf({
    deviceId,
    size,
  }: Pick<DeviceRecord, 'deviceId' | 'size'>): Promise<number | undefined> {
    const { pool, checksum } = await this.#open()
    const found = findSuperblock(pool.device(deviceId, size), checksum)
    return found.kind === 'superblock' ? found.superblock.generation : undefined
  }

  async closeDevice(deviceId: number): Promise<void> {
    const open = this.#devices.get(deviceId)
    if (open === undefined || --open.users > 0) return
    this.#devices.delete(deviceId)
    this.#shareCache()
    const closing = open.store.close().finally(() => this.#closing.delete(deviceId))
    this.#closing.set(deviceId, closing)
    await closing
  }

  /** Commits what was written to a device to the pool. */
  async syncDevice(deviceId: number): Promise<void> {
    await this.#devices.get(deviceId)?.store.commit()
  }

  async sync(): Promise<void> {
    for (const { store } of [...this.#devices.values()]) await store.commit()
  }

  async close(): Promise<void> {
    const opening = this.#opening
    this.#opening = undefined
    await (await opening)?.close()
  }

  async #open(): Promise<OpenPool> {
    this.#opening ??= this.#openPool()
    const opening = this.#opening
    try {
      return await opening
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined
      throw error
    }
  }

  async #openPool(): Promise<OpenPool> {
    const { layout, lockFile, reserveFile, geometry, readOnly, cache } = this.#settings
    const kept = (cache * SHARE_OF_POOL) / BLOCK
    const checksum = await loadChecksum()
    let guard: FileGuard | undefined
    const files: FileDevice[] = []
    const closeAll = async (): Promise<void> => {
      for (const file of files) file.close()
      await guard?.close()
    }
    try {
      if (!readOnly) guard = await openGuard(lockFile)
      const reserve = new Reserve(reserveFile)
      // The data file is not written before the metadata is on disk.
      const mustExist = (): boolean => layout.names().length > 0 || sizeOf(layout.dataFile) > 0
      const open = (path: string): BlockDevice => {
        const file = new FileDevice(path, { readOnly })
        files.push(file)
        if (file.size === 0 && hasLayers(layout)) throw lost(path)
        return withReserve(file, reserve)
      }
      const paths = [layout.metadataFile, layout.dataFile]
      const missing = paths.filter((path) => !existsSync(path))
      if (missing[0] !== undefined && mustExist()) throw lost(missing[0])
      const [metadata, data] = paths.map(open) as [BlockDevice, BlockDevice]
      if (missing.length > 0) await syncDirectory(dirname(layout.dataFile))
      const pool = new ThinPool({ metadata, data, geometry, kept, readOnly, mustExist, guard })
      const close = async (): Promise<void> => {
        await pool.released()
        await closeAll()
      }
      return { pool, reserve, checksum, close }
    } catch (error) {
      await closeAll()
      throw error
    }
  }

  #shareCache(): void {
    const bytes = (this.#settings.cache * (1 - SHARE_OF_POOL)) / Math.max(1, this.#devices.size)
    for (const { store } of this.#devices.values()) store.nodes.keep(bytes)
  }

  async #acquire(pool: ThinPool): Promise<void> {
    this.#letOthersIn(pool)
    if (!(await acquireGuard(pool))) throw locked(this.#settings.lockFile)
  }

  /** Without this, the devices of one process could keep the pool forever by taking turns. */
  #letOthersIn(pool: ThinPool): void {
    if (pool.heldFor < LONGEST_HOLD || this.#changing > 0 || !pool.isWanted) return
    for (const { store } of this.#devices.values()) store.commitNow()
    pool.releaseNow()
  }
}

/** Reports whether any device was written to. */
function hasLayers(layout: DeviceMapperLayout): boolean {
  for (const { name, record } of layout.devices()) if (name !== BASE || record.initialized) return true
  return false
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

export function noDevice(deviceId: number, { metadataFile }: DeviceMapperLayout): StoreError {
  return new StoreError('STORE_CORRUPT', `the pool in ${metadataFile} has no thin device ${deviceId}`, {
    path: metadataFile,
    hint: 'restore the files of the pool together, from one backup; or remove the layer',
  })
}

function locked(path: string): StoreError {
  return new StoreError('STORE_LOCKED', 'another process is changing the pool', {
    path,
    hint: 'wait until it is done, or end it',
  })
}

/** Returns the files of a root, shared by all drivers in this process. Each driver releases them. */
export function shareThinFiles(settings: ThinFilesSettings): {
  readonly files: ThinFiles
  release(): Promise<void>
} {
  const { layout, readOnly } = settings
  const key = `${readOnly ? 'r' : 'w'}:${realpathSync(layout.home)}`
  let shared = sharedFiles.get(key)
  if (shared === undefined) {
    shared = { files: new ThinFiles(settings), users: 0 }
    sharedFiles.set(key, shared)
  }
  const entry = shared
  entry.users++
  const release = async (): Promise<void> => {
    if (--entry.users > 0) return
    if (sharedFiles.get(key) === entry) sharedFiles.delete(key)
    await entry.files.close()
  }
  return { files: entry.files, release }
}

const sharedFiles = new Map<string, { readonly files: ThinFiles; users: number }>()
