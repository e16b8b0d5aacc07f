import { closeSync, mkdirSync, openSync, rmdirSync } from 'node:fs'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { Lock } from '../../../durable/lock.js'
import { isErrno, StoreError } from '../../../errors.js'
import { blockDevicePath, blockDeviceSize, discardBlocks } from '../../../sys/block-device.js'
import { dmDevice, keepDmDevice, removeDmDevice, resumeDmDevice, suspendDmDevice } from '../../../sys/dm.js'
import { unmountIfMounted } from '../../../sys/mount.js'
import { isMountPoint } from '../../../sys/mount-table.js'
import { releaseMount } from '../../mounts.js'
import {
  growFileSystem,
  makeFileSystem,
  mountFileSystem,
  readSuperblock,
  repairFileSystem,
  type Superblock,
} from './file-system.js'
import { BASE, nameOf, type DeviceMapperLayout, type DeviceRecord, type OpenTransaction } from '../layout.js'
import { DEFAULT_BASE_SIZE, type Resolved } from '../options.js'
import type { PoolStatus, DmPool } from './dm-pool.js'
import { isStillWritten, isThereAlready, noLayer } from '../../refusals.js'

const LAST_DEVICE_ID = 0xffffff
const LONGEST_NAME = 127
const DISCARD_STEP = 1n << 30n
/** How long to wait for a busy device, in ms. Programs such as udev's open every new device for a moment. */
const PATIENCE = 3000
const SHORT_PATIENCE = 1000
const PAUSE = 50

export interface DeviceSetSettings {
  readonly layout: DeviceMapperLayout
  readonly pool: DmPool
  readonly options: Resolved
  readonly lockFile: string
  readonly readOnly: boolean
}

/**
 * The thin devices of a root, as Docker keeps them. Each layer has one: a snapshot of its parent's, or of the base
 * device, which has an empty file system.
 *
 * 1. Every change of the set happens under one lock, by one process at a time. The work under the lock is short, except
 *    making the base.
 * 2. A device is made in a transaction: `transaction-metadata` names it and the pool's next transaction id; the thin
 *    device is made; its file is written; the pool takes the id. Each step is on disk before the next.
 * 3. So if the id in the file is ahead of the pool's, the named device is half made or half deleted. Every process
 *    checks this under the lock before it changes anything, and deletes the device and its file. Until then its layer
 *    may be listed. The number in the file may belong to another device, if its maker died before it saw that the
 *    number was taken.
 * 4. A layer whose file says `deleted` does not exist for callers. It is being deleted, was in use when it was deleted,
 *    or is not finished yet. The next open deletes it.
 * 5. The pool exists while any of its devices is in use. A process that needs the pool creates it if it is missing.
 */
export class DeviceSet {
  readonly #layout: DeviceMapperLayout
  readonly #pool: DmPool
  readonly #options: Resolved
  readonly #lockFile: string
  readonly #readOnly: boolean
  readonly #prefix: string
  #nextDeviceId = 0

  constructor({ layout, pool, options, lockFile, readOnly }: DeviceSetSettings) {
    this.#layout = layout
    this.#pool = pool
    this.#options = options
    this.#lockFile = lockFile
    this.#readOnly = readOnly
    this.#prefix = layout.prefix()
  }

  /** Makes or checks the base device, and clears what a crash left. */
  async open(): Promise<void> {
    await this.#locked(async () => {
      const status = this.#pool.ensure()
      if (!this.#readOnly) this.#pool.grow()
      // Checked before any change to the pool, which may belong to another root.
      if (this.#hasBase()) await this.#checkBase()
      if (this.#readOnly) return
      await this.#recover(status)
      this.#nextDeviceId = this.#lastDeviceId()
      this.#deactivateUnused()
      await this.#deleteMarked()
      await this.#setUpBase()
    })
  }

  /** Makes a layer with its parent's content. */
  async create(id: string, parent: string | undefined, size: bigint | undefined): Promise<void> {
    await this.#exclusive(async (status) => {
      const name = nameOf(id)
      const originName = parent === undefined ? BASE : nameOf(parent)
      const origin = this.#layout.device(originName)
      if (origin === undefined || origin.deleted) throw noLayer('devicemapper', parent ?? BASE)
      const now = await this.#mustBeFree(id, status)
      if (size !== undefined && size < origin.size) throw tooSmall(size, origin.size)
      this.#mustHaveSpace(now)
      const grows = size !== undefined && size > origin.size
      const record = { size: Number(size ?? origin.size), initialized: false, deleted: grows }
      const made = await this.#inTransaction(
        name,
        now.transactionId,
        (deviceId) =>
          this.#whileSuspended(this.#deviceName(originName, origin), () =>
            this.#pool.createSnapshot(deviceId, origin.deviceId),
          ),
        record,
      )
      if (!grows) return
      try {
        await this.#growFileSystem(name, made, this.#layout.mountPoint(id))
        await this.#layout.saveDevice(name, { ...made, deleted: false })
      } catch (error) {
        await this.#delete(name, made, made)
        throw error
      }
    })
  }

  /** Deletes a layer that is not in use. */
  async delete(id: string): Promise<void> {
    const name = nameOf(id)
    const marked = await this.#exclusive(async (status) => {
      if (this.#layout.isDamaged(name)) {
        await this.#layout.dropDevice(name)
        return undefined
      }
      const record = this.#layout.device(name)
      if (record === undefined) return undefined
      unmountIfMounted(this.#layout.mountPoint(id))
      const deactivated = await this.#deactivatedForDeletion(name, record)
      if (deactivated && !this.#options.discard) return void (await this.#delete(name, record, status))
      await this.#layout.saveDevice(name, { ...record, deleted: true })
      return deactivated ? { record, path: this.#activate(name, record) } : undefined
    })
    if (marked === undefined) return
    await this.#discard(marked.path)
    await this.#exclusive(async (status) => {
      const now = this.#layout.device(name)
      if (now?.deleted !== true || now.deviceId !== marked.record.deviceId) return
      await this.#delete(name, now, status, true)
    })
  }

  /** Gives a released layer another id. */
  async rename(id: string, newId: string): Promise<void> {
    await this.#exclusive(async (status) => {
      const record = this.#layout.layer(id)
      if (record === undefined) throw noLayer('devicemapper', id)
      await this.#mustBeFree(newId, status)
      await this.#deactivate(nameOf(id), record, false)
      await this.#layout.renameDevice(nameOf(id), nameOf(newId))
    })
  }

  /**
   * Mounts a layer, unless it is mounted.
   * @param sole no other process holds the layer: an existing mount was left behind, and stays only if a program writes
   *   to it
   */
  async mount(id: string, sole: boolean): Promise<void> {
    return this.#exclusive(async (status) => {
      const record = this.#layout.layer(id)
      if (record === undefined) throw noLayer('devicemapper', id)
      const target = this.#layout.mountPoint(id)
      if (isMountPoint(target)) {
        if (!sole || !releaseMount(target)) return
        await this.#deactivate(nameOf(id), record, this.#options.deferredRemoval)
      }
      mkdirSync(target, { recursive: true, mode: 0o755 })
      try {
        await this.#mountIfRoom(target, nameOf(id), record, status)
      } catch (error) {
        rmdirSync(target)
        await this.#deactivate(nameOf(id), record, true)
        throw error
      }
    })
  }

  /** Mounting writes. If the pool is too full for that, mounts read-only. */
  async #mountIfRoom(
    target: string,
    name: string,
    record: DeviceRecord,
    { isFull }: PoolStatus,
  ): Promise<void> {
    try {
      const path = this.#activate(name, record)
      const mayRepair = (): boolean => dmDevice(this.#deviceName(name, record))?.openCount === 0
      if (!this.#readOnly && !isFull && readSuperblock(path)?.hasErrors === true && mayRepair())
        await repairFileSystem(path)
      this.#mountAt(target, path)
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EIO') || !this.#pool.status().isFull) throw error
      await this.#deactivate(name, record, false)
      this.#mountAt(target, this.#activate(name, record, true), true)
    }
  }

  /** A no-op if nothing is mounted. A mount that a program still writes to stays. */
  async unmount(id: string): Promise<void> {
    await this.#locked(async () => {
      const target = this.#layout.mountPoint(id)
      if (this.#readOnly) unmountIfMounted(target)
      else if (!releaseMount(target)) return
      removeMountPoint(target)
      if (this.#layout.isDamaged(nameOf(id))) return
      const record = this.#layout.device(nameOf(id))
      if (record !== undefined) await this.#deactivate(nameOf(id), record, this.#options.deferredRemoval)
    })
  }

  /** Like `unmount`, but rejects with `LAYER_IN_USE` if the mount stays. */
  async release(id: string): Promise<void> {
    await this.unmount(id)
    const target = this.#layout.mountPoint(id)
    if (isMountPoint(target)) throw isStillWritten(id, target)
  }

  /** The kernel's name for a layer's device. */
  deviceName(id: string, record: DeviceRecord): string {
    return this.#deviceName(nameOf(id), record)
  }

  baseSize(): number {
    return this.#layout.device(BASE)?.size ?? 0
  }

  /** Number of devices marked deleted that wait for their last user. */
  deletedCount(): number {
    return [...this.#layout.devices()].filter(({ record }) => record.deleted).length
  }

  poolStatus(): Promise<PoolStatus> {
    return this.#exclusive(async (status) => status)
  }

  /** Removes the pool unless it is still in use. */
  async close(): Promise<void> {
    if (this.#readOnly) return this.#pool.retire()
    await this.#locked(async () => {
      const set = this.#layout.set()
      if (set.nextDeviceId !== this.#nextDeviceId) {
        await this.#layout.saveSet({ ...set, nextDeviceId: this.#nextDeviceId })
      }
      this.#deactivateUnused()
      this.#pool.retire()
    })
  }

  /** Runs work that needs the pool and excludes other changes to the set. */
  async #exclusive<T>(work: (status: PoolStatus) => Promise<T>): Promise<T> {
    return this.#locked(async () => {
      const status = this.#pool.ensure()
      return work(this.#readOnly ? status : await this.#recover(status))
    })
  }

  /** A read-only open leaves no lock file behind. */
  async #locked<T>(work: () => Promise<T>): Promise<T> {
    const lock = this.#readOnly ? undefined : await Lock.acquire(this.#lockFile)
    try {
      return await work()
    } finally {
      await lock?.release()
    }
  }

  /** Undoes an unfinished transaction. */
  async #recover(status: PoolStatus): Promise<PoolStatus> {
    const open = this.#layout.transaction()
    if (open === undefined || open.id <= status.transactionId) return status
    const record = this.#layout.device(open.name)
    if (record !== undefined && record.deviceId === open.deviceId) {
      await this.#deactivate(open.name, record, false)
    }
    this.#resumeAll()
    if (!this.#isAnothers(open)) this.#pool.deleteThin(open.deviceId)
    if (record === undefined || record.deviceId === open.deviceId) await this.#layout.dropDevice(open.name)
    await this.#layout.dropTransaction()
    return this.#pool.status()
  }

  /** A process that snapshots a device in use may die before it resumes the device. */
  #resumeAll(): void {
    for (const { name, record } of this.#layout.devices()) {
      const deviceName = this.#deviceName(name, record)
      if (dmDevice(deviceName)?.suspended === true) resumeDmDevice(deviceName)
    }
  }

  /** Reports whether another file names the device. A damaged file might name it; then the thin device stays. */
  #isAnothers({ name: ours, deviceId }: OpenTransaction): boolean {
    return this.#layout
      .names()
      .some(
        (name) =>
          name !== ours && (this.#layout.isDamaged(name) || this.#layout.device(name)?.deviceId === deviceId),
      )
  }

  /**
   * Makes a device under the first free number.
   * @param transactionId the pool's
   * @param make throws `EEXIST` if the number is taken
   */
  async #inTransaction(
    name: string,
    transactionId: number,
    make: (deviceId: number) => void,
    fields: Pick<DeviceRecord, 'size' | 'initialized' | 'deleted'>,
  ): Promise<DeviceRecord> {
    const id = transactionId + 1
    for (let tries = 0; tries <= LAST_DEVICE_ID; tries++) {
      const deviceId = this.#takeDeviceId(tries > 0)
      await this.#layout.saveTransaction({ id, name, deviceId })
      try {
        make(deviceId)
      } catch (error) {
        if (isErrno(error, 'EEXIST')) continue
        await this.#layout.dropTransaction()
        throw error
      }
      const record = { deviceId, transactionId: id, ...fields }
      await this.#layout.saveDevice(name, record)
      this.#pool.setTransactionId(transactionId, id)
      return record
    }
    throw new StoreError('NO_SPACE', 'the thin pool has no free device number', { hint: 'remove layers' })
  }

  /** @param isMarked its file already says `deleted` on disk */
  async #delete(
    name: string,
    record: DeviceRecord,
    { transactionId }: Pick<PoolStatus, 'transactionId'> = this.#pool.status(),
    isMarked = false,
  ): Promise<void> {
    await this.#deactivate(name, record, false)
    await this.#layout.saveTransaction({ id: transactionId + 1, name, deviceId: record.deviceId })
    this.#pool.deleteThin(record.deviceId)
    await (isMarked ? this.#layout.dropDeleted(name) : this.#layout.dropDevice(name))
    this.#pool.setTransactionId(transactionId, transactionId + 1)
  }

  /** The recorded number dates from the last close. The devices show which numbers were used since. */
  #lastDeviceId(): number {
    const { nextDeviceId } = this.#layout.set()
    return [...this.#layout.devices()].reduce(
      (last, { record }) => Math.max(last, record.deviceId),
      nextDeviceId,
    )
  }

  /** Returns the next number after the last one. After a collision, skips all numbers that have a file. */
  #takeDeviceId(collided: boolean): number {
    const next = (id: number): number => (id + 1) & LAST_DEVICE_ID
    this.#nextDeviceId = next(this.#nextDeviceId)
    if (!collided) return this.#nextDeviceId
    const taken = new Set([...this.#layout.devices()].map(({ record }) => record.deviceId))
    while (taken.has(this.#nextDeviceId)) this.#nextDeviceId = next(this.#nextDeviceId)
    return this.#nextDeviceId
  }

  async #mustBeFree(id: string, status: PoolStatus): Promise<PoolStatus> {
    const record = this.#layout.device(nameOf(id))
    if (record === undefined) return status
    if (!record.deleted) throw isThereAlready(id)
    await this.#delete(nameOf(id), record, status)
    return this.#pool.status()
  }

  #mustHaveSpace({ data, metadata }: PoolStatus): void {
    const percent = this.#options.minimumFreePercent
    if (percent === 0n) return
    for (const [what, { used, total }] of Object.entries({ data, metadata })) {
      const least = (total * percent) / 100n || 1n
      if (total - used >= least) continue
      throw new StoreError(
        'NO_SPACE',
        `the thin pool has ${total - used} free ${what} blocks, and must keep ${least} free`,
        { hint: 'remove layers, let the pool grow (dm.loopdatasize), or set dm.min_free_space' },
      )
    }
  }

  #whileSuspended(deviceName: string, work: () => void): void {
    if (!suspended(deviceName)) return work()
    try {
      work()
    } finally {
      resumeDmDevice(deviceName)
    }
  }

  #deviceName(name: string, { deviceId }: DeviceRecord): string {
    const own = `${this.#prefix}-${name}`
    return own.length <= LONGEST_NAME ? own : `${this.#prefix}-=${deviceId}`
  }

  /** @returns the path of the activated device */
  #activate(name: string, record: DeviceRecord, readOnly = this.#readOnly): string {
    const deviceName = this.#deviceName(name, record)
    let device = dmDevice(deviceName)
    if (device?.removedWhenUnused === true && !keepDmDevice(deviceName)) device = undefined
    // A device without a table is left from a process that died while making it.
    if (device?.ready === false) device = undefined
    if (device?.openCount === 0 && device.readOnly !== readOnly && removeDmDevice(deviceName))
      device = undefined
    const { major, minor } = device ?? this.#pool.activate(deviceName, record.deviceId, record.size, readOnly)
    return blockDevicePath(major, minor)
  }

  /** @returns false if the device is in use; it is removed when its last user closes it */
  async #deactivatedForDeletion(name: string, record: DeviceRecord): Promise<boolean> {
    if (!this.#options.deferredDeletion) {
      await this.#deactivate(name, record, false)
      return true
    }
    try {
      await this.#deactivate(name, record, false, SHORT_PATIENCE)
      return true
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
      await this.#deactivate(name, record, true)
      return false
    }
  }

  /** @param deferred a device in use is removed when its last user closes it */
  async #deactivate(
    name: string,
    record: DeviceRecord,
    deferred: boolean,
    patience = PATIENCE,
  ): Promise<void> {
    const deviceName = this.#deviceName(name, record)
    if (deferred) return void removeDmDevice(deviceName, { whenUnused: true })
    for (const end = Date.now() + patience; ; await sleep(PAUSE)) {
      try {
        return void removeDmDevice(deviceName)
      } catch (error) {
        if (!isErrno(error, 'EBUSY')) throw error
        if (Date.now() < end) continue
        throw new StoreError('LAYER_IN_USE', `the device ${deviceName} is in use`, {
          cause: error,
          hint: 'a process has it open or mounted: find it with lsblk and fuser',
        })
      }
    }
  }

  #mountAt(target: string, path: string, readOnly = this.#readOnly): Superblock {
    const { mountOptions: options, mountFlags, xfsRetries } = this.#options
    return mountFileSystem(path, target, { options, mountFlags, xfsRetries, readOnly })
  }

  async #growFileSystem(name: string, record: DeviceRecord, target: string): Promise<void> {
    mkdirSync(target, { recursive: true, mode: 0o755 })
    try {
      const superblock = this.#mountAt(target, this.#activate(name, record))
      growFileSystem(target, superblock, BigInt(record.size))
    } finally {
      unmountIfMounted(target)
      removeMountPoint(target)
      await this.#deactivate(name, record, false)
    }
  }

  /** Discards in steps, yielding in between. */
  async #discard(path: string): Promise<void> {
    try {
      const fd = openSync(path, 'r+')
      try {
        const size = blockDeviceSize(fd)
        for (let at = 0n; at < size; at += DISCARD_STEP) {
          discardBlocks(fd, at, size - at < DISCARD_STEP ? size - at : DISCARD_STEP)
          await turn()
        }
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      // The layer is removed anyway, and the pool reuses its space when needed.
      if (!isErrno(error, 'EOPNOTSUPP', 'ENOTSUP', 'ENXIO', 'ENOENT')) throw error
    }
  }

  /** Deactivates devices that are not open, such as those of dead processes. */
  #deactivateUnused(): void {
    for (const { name, record } of this.#layout.devices()) {
      const deviceName = this.#deviceName(name, record)
      if (dmDevice(deviceName)?.openCount === 0) removeDmDevice(deviceName, { whenUnused: true })
    }
  }

  async #deleteMarked(): Promise<void> {
    for (const { name, record } of this.#layout.devices()) {
      if (!record.deleted || dmDevice(this.#deviceName(name, record)) !== undefined) continue
      await this.#delete(name, record)
    }
  }

  async #setUpBase(): Promise<void> {
    if (this.#layout.isDamaged(BASE)) await this.#layout.dropDevice(BASE)
    const base = this.#layout.device(BASE)
    if (base !== undefined && this.#hasBase()) return this.#growBase(base)
    if (base !== undefined) await this.#delete(BASE, base)
    else if (!this.#pool.isOurs) this.#mustBeUnused()
    await this.#makeBase()
  }

  #hasBase(): boolean {
    if (this.#layout.isDamaged(BASE)) return false
    const base = this.#layout.device(BASE)
    return base?.initialized === true && !base.deleted
  }

  async #makeBase(fileSystem: string | undefined = this.#options.fileSystem): Promise<void> {
    const size = Number(this.#options.baseSize ?? DEFAULT_BASE_SIZE)
    const make = (deviceId: number): void => this.#pool.createThin(deviceId)
    const { transactionId } = this.#pool.status()
    const fields = { size, initialized: false, deleted: false }
    const record = await this.#inTransaction(BASE, transactionId, make, fields)
    const path = this.#activate(BASE, record)
    try {
      await makeFileSystem(path, fileSystem, this.#options.mkfsArguments)
      const superblock = readSuperblock(path)
      await this.#layout.saveSet({
        nextDeviceId: this.#nextDeviceId,
        baseUuid: superblock?.uuid ?? '',
        baseFileSystem: superblock?.type ?? '',
      })
    } catch (error) {
      await this.#delete(BASE, record)
      throw error
    }
    await this.#deactivate(BASE, record, false)
    await this.#layout.saveDevice(BASE, { ...record, initialized: true })
  }

  /** Checks that the pool has this root's base device, with the same file system as before. */
  async #checkBase(): Promise<void> {
    const base = this.#layout.device(BASE)
    if (base === undefined) return
    const deviceName = this.#deviceName(BASE, base)
    const path = this.#activate(BASE, base)
    if (dmDevice(deviceName)?.suspended === true) resumeDmDevice(deviceName)
    const { uuid, type } = readSuperblock(path) ?? { uuid: '', type: '' }
    removeDmDevice(deviceName, { whenUnused: true })
    const set = this.#layout.set()
    const { baseUuid, baseFileSystem } = set
    if ((baseUuid !== '' && uuid !== baseUuid) || (baseFileSystem !== '' && type !== baseFileSystem)) {
      throw new StoreError(
        'STORE_FOREIGN',
        `the base device has ${type === '' ? 'no file system' : `${type} ${uuid}`}, not ${baseFileSystem} ${baseUuid}`,
        { hint: 'open the root with the thin pool that it was made with' },
      )
    }
    if (baseUuid === '' && !this.#readOnly) {
      await this.#layout.saveSet({ ...set, baseUuid: uuid, baseFileSystem: type })
    }
    const wanted = this.#options.fileSystem
    if (wanted === undefined || wanted === type || type === '') return
    throw new StoreError('ENGINE_UNSUPPORTED', `the layers of this root are on ${type}, not on ${wanted}`, {
      hint: 'leave dm.fs out, or make a new root',
    })
  }

  async #growBase(base: DeviceRecord): Promise<void> {
    const { baseSize } = this.#options
    if (baseSize === undefined || baseSize === BigInt(base.size)) return
    if (baseSize < base.size) throw tooSmall(baseSize, base.size)
    // No layer needs the old base: each holds everything it is made of.
    await this.#layout.saveDevice(BASE, { ...base, initialized: false })
    await this.#delete(BASE, base)
    await this.#makeBase(this.#layout.set().baseFileSystem)
  }

  #mustBeUnused(): void {
    const { transactionId, data } = this.#pool.status()
    if (transactionId === 0 && data.used === 0n) return
    throw new StoreError(
      'STORE_FOREIGN',
      `the thin pool ${this.#pool.name} is not empty, and does not belong to this root`,
      {
        hint: 'name an empty thin pool, or open the root that this one belongs to',
      },
    )
  }
}

/** Returns false if the device does not exist: then no process has the layer open. */
function suspended(deviceName: string): boolean {
  try {
    suspendDmDevice(deviceName)
    return true
  } catch (error) {
    if (isErrno(error, 'ENXIO')) return false
    throw error
  }
}

function removeMountPoint(target: string): void {
  try {
    // Removing the mount point also unmounts it in other mount namespaces.
    rmdirSync(target)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
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
