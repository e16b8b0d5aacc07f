import { DamagedBlock } from '../cow/damage.js'
import { storeError, StoreError } from '../errors.js'
import { layerFs } from '../fs/facade/layer-fs-adapter.js'
import type { SyncFs } from '../fs/sync-fs.js'
import type { OperationOptions } from '../operation-options.js'
import type {
  CreateOptions,
  Damage,
  DriverCapabilities,
  GetOptions,
  LayerView,
  ProtoDriver,
} from './driver.js'
import { HeldViews, inSteps, type OpenedView } from './held-views.js'
import type { LayerHolds } from './layer-holds.js'
import { checkLayerId } from './layer-id.js'
import type { FastPaths } from './naive-diff.js'
import { isReadOnly, isThereAlready, noLayer } from './refusals.js'

/** Storage that keeps layers as this library's own filesystems. The effects of a resolved call are on disk. */
export interface LayerVolumes {
  readonly capabilities: DriverCapabilities
  /** Creates what is missing and clears what a crash left. A no-op if read-only. */
  recover(): Promise<void>
  /** Clears temporary files of processes that have ended. */
  tidy?(): Promise<void>
  exists(id: string): Promise<boolean>
  list(): Promise<string[]>
  /** As in `Driver`, if it costs less than `list`. */
  idsOnDisk?(): Promise<string[]>
  /** Rejects with `NAME_CONFLICT` if the id exists, `LAYER_NOT_FOUND` if the parent does not exist. */
  create(id: string, parent: string | undefined, options: CreateOptions): Promise<void>
  open(id: string, options: { readOnly: boolean; volatile: boolean }): Promise<OpenVolume>
  /** Removes a layer that has no open view. */
  remove(id: string): Promise<void>
  rename(id: string, newId: string): Promise<void>
  /** Resolves once everything written through views is on disk. */
  sync(): Promise<void>
  status(): Promise<[key: string, value: string][]>
  metadata(id: string): Promise<Record<string, string>>
  /** Reports damage in any file. */
  check(signal: AbortSignal | undefined): Promise<Damage[]>
  /** Closes everything that is open; the next call reopens it. */
  close(): Promise<void>
}

export interface OpenVolume {
  readonly syncFs: SyncFs
  /** Resolves once everything written is on disk. */
  close(): Promise<void>
}

export interface VolumeDriverSettings {
  readonly name: string
  readonly volumes: LayerVolumes
  readonly holds: LayerHolds
  readonly readOnly: boolean
}

/**
 * A driver whose layers are this library's own filesystems: no mounts, no privileges, any system. A damaged block is
 * `STORE_CORRUPT` in calls of the driver, and `EIO` in calls of a view.
 */
export class VolumeDriver implements ProtoDriver, FastPaths {
  readonly name: string
  readonly engine = 'userspace'
  readonly #volumes: LayerVolumes
  readonly #holds: LayerHolds
  readonly #readOnly: boolean
  readonly #views = new HeldViews()

  static async open(settings: VolumeDriverSettings): Promise<VolumeDriver> {
    const { name, volumes } = settings
    try {
      await volumes.recover()
      const driver = new VolumeDriver(settings)
      if (!settings.readOnly) await driver.tidy()
      return driver
    } catch (error) {
      await volumes.close().catch(() => undefined)
      throw volumeError(error, `could not open the layers of ${name}`)
    }
  }

  private constructor({ name, volumes, holds, readOnly }: VolumeDriverSettings) {
    this.name = name
    this.#volumes = volumes
    this.#holds = holds
    this.#readOnly = readOnly
  }

  get capabilities(): DriverCapabilities {
    return this.#volumes.capabilities
  }

  async create(id: string, parent?: string, options: CreateOptions = {}): Promise<void> {
    checkLayerId(id)
    this.#mayWrite()
    try {
      await this.#volumes.create(id, parent, options)
    } catch (error) {
      throw volumeError(error, `could not create layer ${id}`)
    }
  }

  createReadWrite(id: string, parent?: string, options?: CreateOptions): Promise<void> {
    return this.create(id, parent, options)
  }

  get(id: string, options: GetOptions = {}): Promise<LayerView> {
    return this.#views.get(id, () => typed(`could not open layer ${id}`, () => this.#open(id, options)))
  }

  /** When this resolves, everything written through the view is on disk, even if other views of the layer are open. */
  async put(id: string): Promise<void> {
    try {
      await this.#views.put(id)
      if (!this.#readOnly) await this.#volumes.sync()
    } catch (error) {
      throw volumeError(error, `could not sync layer ${id} to disk`)
    }
  }

  async remove(id: string): Promise<void> {
    checkLayerId(id)
    this.#mayWrite()
    await this.#views.whileUnused(id, this.#holds, async () => {
      await typed(`could not remove layer ${id}`, async () => {
        if (await this.#volumes.exists(id)) await this.#volumes.remove(id)
      })
    })
  }

  async exists(id: string): Promise<boolean> {
    checkLayerId(id)
    return typed(`could not look up layer ${id}`, () => this.#volumes.exists(id))
  }

  list(): Promise<string[]> {
    return typed('could not list the layers', () => this.#volumes.list())
  }

  status(): Promise<[key: string, value: string][]> {
    return typed('could not read the status', () => this.#volumes.status())
  }

  async metadata(id: string): Promise<Record<string, string>> {
    await this.#mustExist(id)
    return this.#volumes.metadata(id)
  }

  check({ signal }: OperationOptions = {}): Promise<Damage[]> {
    return typed('could not check the layers', () => this.#volumes.check(signal))
  }

  async idsOnDisk(): Promise<string[]> {
    return (await this.#volumes.idsOnDisk?.()) ?? this.list()
  }

  async tidy(): Promise<void> {
    await this.#volumes.tidy?.()
    await this.#holds.tidy()
  }

  async cleanup(): Promise<void> {
    await typed('could not sync all changes to disk', async () => {
      try {
        await this.#views.closeAll()
      } finally {
        await this.#volumes.close()
      }
    })
  }

  async quiesce(id: string): Promise<void> {
    this.#mayWrite()
    await this.#mustExist(id)
    await this.#views.whileUnused(id, this.#holds, async () => undefined)
  }

  async adopt(id: string, newId: string): Promise<void> {
    checkLayerId(newId)
    this.#mayWrite()
    await this.#mustExist(id)
    if (await this.#volumes.exists(newId)) throw isThereAlready(newId)
    await this.#views.whileUnused(id, this.#holds, () => this.#volumes.rename(id, newId))
  }

  async #open(id: string, { volatile = false }: GetOptions): Promise<OpenedView> {
    await this.#mustExist(id)
    if (this.#readOnly) {
      const { syncFs, close } = await this.#volumes.open(id, { readOnly: true, volatile })
      return { fs: layerFs(syncFs), close }
    }
    // Opening may wait for other callers, which may be waiting to release a hold. So don't open inside `take`.
    const { hold } = await this.#holds.take(id, 'shared', async () => undefined)
    try {
      const { syncFs, close } = await this.#volumes.open(id, { readOnly: false, volatile })
      // A volume that cannot write all of its content still releases its hold.
      const closed = inSteps(close)
      const closeAll = async (): Promise<void> => {
        try {
          await closed()
        } finally {
          await hold.release()
        }
      }
      return { fs: layerFs(syncFs), close: closeAll }
    } catch (error) {
      await hold.release()
      throw error
    }
  }

  async #mustExist(id: string): Promise<void> {
    if (await this.exists(id)) return
    throw noLayer(this.name, id)
  }

  #mayWrite(): void {
    if (this.#readOnly) throw isReadOnly()
  }
}

async function typed<T>(message: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw volumeError(error, message)
  }
}

function volumeError(error: unknown, message: string): unknown {
  if (!(error instanceof DamagedBlock)) return storeError(error, 'SYSTEM', message)
  return new StoreError('STORE_CORRUPT', `${message}: block ${error.block} of ${error.device} is damaged`, {
    cause: error,
    path: error.device,
    errno: error.code,
    syscall: error.syscall,
    hint: 'store.check() reports all damage; restore the file from a backup, or save what can be read',
  })
}
