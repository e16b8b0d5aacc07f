import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { removeAbandoned } from '../../durable/abandoned.js'
import { writeFileAtomic } from '../../durable/atomic-file.js'
import { makeDirectory } from '../../durable/make-directory.js'
import { writeSectorFile } from '../../durable/sector-file.js'
import { syncDirectory } from '../../durable/sync-directory.js'
import { isErrno, StoreError } from '../../errors.js'
import { deviceMajor, deviceMinor } from '../../sys/mknod.js'
import { crc32c } from '../../thin/crc32c.js'

/** The record of one thin device. */
export interface DeviceRecord {
  /** The device's number in the pool; 24 bits. */
  readonly deviceId: number
  /** In bytes. */
  readonly size: number
  /** The transaction that made the device. */
  readonly transactionId: number
  /** For the base device: it has a file system. */
  readonly initialized: boolean
  /** The layer no longer exists for callers. The device is deleted as soon as possible. */
  readonly deleted: boolean
  /** For a layer of the userspace engine: what it is a snapshot of. */
  readonly origin?: OriginRecord | undefined
}

/** A device and the state it was in. Device numbers are reused, so the transaction identifies the device. */
export interface OriginRecord {
  readonly deviceId: number
  readonly transactionId: number
  readonly generation: number
}

/** Written before a thin device is made or deleted. */
export interface OpenTransaction {
  /** The pool's transaction id once this transaction is done. */
  readonly id: number
  readonly name: string
  readonly deviceId: number
}

/** The record of the whole set. */
export interface SetRecord {
  readonly nextDeviceId: number
  /** UUID of the base device's file system; empty until it has one. */
  readonly baseUuid: string
  readonly baseFileSystem: string
}

/** Names the device that all others are snapshots of. */
export const BASE = 'base'
const SET_FILE = 'deviceset-metadata'
const TRANSACTION_FILE = 'transaction-metadata'
const MIGRATED = '.migrated'
/** Size limit of a file in `metadata/`, in bytes; dockerd writes a few hundred. */
const LARGEST_FILE = 64 << 10
/** Occurs in no layer's id. */
const ESCAPE = '='

/** Returns the name of a layer's device and file: the id, prefixed with `=` if the id is a reserved name. */
export function nameOf(id: string): string {
  return [BASE, SET_FILE, TRANSACTION_FILE].includes(id) || id.endsWith(MIGRATED) ? `${ESCAPE}${id}` : id
}

function idOf(name: string): string {
  return name.startsWith(ESCAPE) ? name.slice(1) : name
}

/**
 * The files of Docker's devicemapper. `metadata/` has one JSON file per thin device and two for the whole set.
 * `devicemapper/` has the sparse files of the pool. A layer is mounted at `mnt/<id>`, and its tree is `rootfs` in the
 * mount.
 *
 * A layer exists if its file exists and does not say `deleted`.
 */
export class DeviceMapperLayout {
  readonly home: string
  readonly #sealed: boolean

  /**
   * @param sealed new files include their own checksum, which dockerd's files do not; any checksum found is verified
   */
  constructor(home: string, sealed = false) {
    this.home = home
    this.#sealed = sealed
  }

  async make(): Promise<void> {
    for (const directory of ['', 'metadata', 'devicemapper']) {
      await makeDirectory(join(this.home, directory), { mode: 0o700 })
    }
    await makeDirectory(join(this.home, 'mnt'), { mode: 0o755 })
  }

  /** Ids of layers that have a file, including deleted ones. */
  idsOnDisk(): string[] {
    return this.names()
      .filter((name) => name !== BASE)
      .map(idOf)
  }

  /** Clears temporary files of processes that have ended. */
  tidy(): Promise<void> {
    return removeAbandoned(join(this.home, 'metadata'))
  }

  get dataFile(): string {
    return join(this.home, 'devicemapper', 'data')
  }

  get metadataFile(): string {
    return join(this.home, 'devicemapper', 'metadata')
  }

  mountPoint(id: string): string {
    return join(this.home, 'mnt', id)
  }

  /** Ids of layers that are mounted, or were when a process died. */
  mountPoints(): string[] {
    return namesIn(join(this.home, 'mnt'))
  }

  /** The common prefix of the names of this root's devices. */
  prefix(): string {
    const { dev, ino } = statSync(this.home, { bigint: true })
    return `docker-${deviceMajor(dev)}:${deviceMinor(dev)}-${ino}`
  }

  /** Ids of the existing layers, including those whose file is damaged. */
  layers(): string[] {
    return this.names()
      .filter((name) => name !== BASE && (this.isDamaged(name) || this.device(name)?.deleted === false))
      .map(idOf)
  }

  has(id: string): boolean {
    return this.isDamaged(nameOf(id)) || this.layer(id) !== undefined
  }

  layer(id: string): DeviceRecord | undefined {
    const record = this.device(nameOf(id))
    return record?.deleted === true ? undefined : record
  }

  /** Names of all devices that have a file, including the base and deleted ones. */
  names(): string[] {
    return namesIn(join(this.home, 'metadata')).filter((name) => !name.startsWith('.') && !isNoDevice(name))
  }

  device(name: string): DeviceRecord | undefined {
    const fields = this.#read(name)
    if (fields === undefined) return undefined
    const { device_id: deviceId, size, transaction_id: transactionId, initialized, deleted } = fields
    if (!isCount(deviceId) || deviceId > 0xffffff || !isCount(size) || !isCount(transactionId)) {
      throw this.#corrupt(name)
    }
    const [isInitialized, isDeleted] = [initialized === true, deleted === true]
    const origin = originOf(fields)
    return { deviceId, size, transactionId, initialized: isInitialized, deleted: isDeleted, origin }
  }

  /** Reports whether the file exists but does not describe a device. */
  isDamaged(name: string): boolean {
    try {
      this.device(name)
      return false
    } catch (error) {
      if (error instanceof StoreError && error.code === 'STORE_CORRUPT') return true
      throw error
    }
  }

  /** Yields all records that can be read. */
  *devices(): Generator<{ readonly name: string; readonly record: DeviceRecord }> {
    for (const name of this.names()) {
      const record = this.isDamaged(name) ? undefined : this.device(name)
      if (record !== undefined) yield { name, record }
    }
  }

  async saveDevice(name: string, record: DeviceRecord): Promise<void> {
    await this.#write(name, {
      device_id: record.deviceId,
      size: record.size,
      transaction_id: record.transactionId,
      initialized: record.initialized,
      deleted: record.deleted,
      ...(record.origin && {
        origin_device_id: record.origin.deviceId,
        origin_transaction_id: record.origin.transactionId,
        origin_generation: record.origin.generation,
      }),
    })
  }

  async dropDevice(name: string): Promise<void> {
    await rm(this.#file(name), { force: true, recursive: true })
    await syncDirectory(join(this.home, 'metadata'))
  }

  /** Removes, without a sync, a file that says `deleted` on disk. If a crash brings the file back, it still says so. */
  async dropDeleted(name: string): Promise<void> {
    await rm(this.#file(name), { force: true })
  }

  async renameDevice(name: string, newName: string): Promise<void> {
    await rename(this.#file(name), this.#file(newName))
    await syncDirectory(join(this.home, 'metadata'))
  }

  /** A damaged file counts as missing: its content can be determined again. */
  set(): SetRecord {
    const fields = this.#readOrNone(SET_FILE) ?? {}
    const { next_device_id: next, BaseDeviceUUID: uuid, BaseDeviceFilesystem: type } = fields
    return {
      nextDeviceId: isCount(next) ? next : 0,
      baseUuid: typeof uuid === 'string' ? uuid : '',
      baseFileSystem: typeof type === 'string' ? type : '',
    }
  }

  async saveSet({ nextDeviceId, baseUuid, baseFileSystem }: SetRecord): Promise<void> {
    await this.#write(SET_FILE, {
      next_device_id: nextDeviceId,
      BaseDeviceUUID: baseUuid,
      BaseDeviceFilesystem: baseFileSystem,
    })
  }

  /** Returns `undefined` if the file is missing or damaged. At worst, an unknown thin device then stays in the pool. */
  transaction(): OpenTransaction | undefined {
    const fields = this.#readOrNone(TRANSACTION_FILE)
    if (fields === undefined) return undefined
    const { open_transaction_id: id, device_hash: hash, device_id: deviceId } = fields
    if (!isCount(id) || typeof hash !== 'string' || !isCount(deviceId)) return undefined
    return { id, name: hash === '' ? BASE : hash, deviceId }
  }

  /** A crash during the write may leave a damaged file. No step of the transaction has been done by then. */
  async saveTransaction({ id, name, deviceId }: OpenTransaction): Promise<void> {
    const hash = name === BASE ? '' : name
    const fields = { open_transaction_id: id, device_hash: hash, device_id: deviceId }
    const path = this.#file(TRANSACTION_FILE)
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) await rm(path, { recursive: true })
    await writeSectorFile(path, this.#encode(fields))
  }

  async dropTransaction(): Promise<void> {
    await this.dropDevice(TRANSACTION_FILE)
  }

  #file(name: string): string {
    return join(this.home, 'metadata', name)
  }

  async #write(name: string, fields: Record<string, unknown>): Promise<void> {
    const path = this.#file(name)
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) await rm(path, { recursive: true })
    await writeFileAtomic(path, this.#encode(fields))
  }

  #encode(fields: Record<string, unknown>): string {
    return JSON.stringify(this.#sealed ? { ...fields, checksum: checksumOf(fields) } : fields)
  }

  /** Returns `undefined` if the file does not exist. */
  #read(name: string): Readonly<Record<string, unknown>> | undefined {
    const text = readSmallFile(this.#file(name))
    if (text === undefined) return undefined
    try {
      const { checksum, ...fields } = JSON.parse(text)
      if (checksum === undefined || checksum === checksumOf(fields)) return fields
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
    }
    throw this.#corrupt(name)
  }

  #readOrNone(name: string): Readonly<Record<string, unknown>> | undefined {
    try {
      return this.#read(name)
    } catch (error) {
      if (error instanceof StoreError && error.code === 'STORE_CORRUPT') return undefined
      throw error
    }
  }

  #corrupt(name: string): StoreError {
    const path = this.#file(name)
    return new StoreError('STORE_CORRUPT', `${path} is damaged`, {
      path,
      hint: 'restore it from a backup, or remove the layer; its thin device then stays in the pool',
    })
  }
}

function originOf(fields: Readonly<Record<string, unknown>>): OriginRecord | undefined {
  const {
    origin_device_id: deviceId,
    origin_transaction_id: transactionId,
    origin_generation: generation,
  } = fields
  if (!isCount(deviceId) || !isCount(transactionId) || !isCount(generation)) return undefined
  return { deviceId, transactionId, generation }
}

/** Returns the text of a regular file, or an empty string for anything else. `undefined` if it does not exist. */
function readSmallFile(path: string): string | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    if (isErrno(error, 'ELOOP', 'ENXIO', 'EISDIR')) return ''
    throw error
  }
  try {
    const stat = fstatSync(fd)
    return stat.isFile() && stat.size <= LARGEST_FILE ? readFileSync(fd, 'utf8') : ''
  } finally {
    closeSync(fd)
  }
}

function checksumOf(fields: Readonly<Record<string, unknown>>): string {
  return crc32c(Buffer.from(JSON.stringify(fields)), 0).toString(16)
}

function isNoDevice(name: string): boolean {
  return (
    name === SET_FILE || name === TRANSACTION_FILE || (name.endsWith(MIGRATED) && !name.startsWith(ESCAPE))
  )
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
