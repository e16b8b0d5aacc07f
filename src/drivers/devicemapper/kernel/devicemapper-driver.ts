import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError, storeError } from '../../../errors.js'
import { HostFs } from '../../../fs/host/host-fs.js'
import { layerFs } from '../../../fs/facade/layer-fs-adapter.js'
import { syncFileSystemOf } from '../../../sys/syncfs.js'
import type { CreateOptions, DriverCapabilities, LayerView, ProtoDriver } from '../../driver.js'
import { HeldViews, inSteps, type OpenedView } from '../../held-views.js'
import { LayerHolds } from '../../layer-holds.js'
import { checkLayerId } from '../../layer-id.js'
import type { FastPaths } from '../../naive-diff.js'
import { sizeOption } from '../../size.js'
import type { DeviceSet } from './device-set.js'
import type { DeviceMapperLayout, DeviceRecord } from '../layout.js'
import type { Resolved } from '../options.js'
import { statusRows } from './status.js'
import type { DmPool } from './dm-pool.js'
import { isReadOnly, isThereAlready, noLayer } from '../../refusals.js'

export interface DeviceMapperSettings {
  readonly root: string
  readonly layout: DeviceMapperLayout
  readonly devices: DeviceSet
  readonly pool: DmPool
  readonly options: Resolved
  readonly readOnly: boolean
}

/** The same on all machines. */
export const DEVICEMAPPER_CAPABILITIES: DriverCapabilities = {
  hostPath: true,
  cheapSnapshots: true,
  sharesBlocks: true,
  nativeDiff: false,
  quota: true,
  maxDepth: Infinity,
  nativeAttributes: true,
}

/**
 * Docker's devicemapper: every layer is a thin device with its own file system, a snapshot of its parent's. Parent and
 * child share all blocks that neither has written since.
 */
export class DeviceMapperDriver implements ProtoDriver, FastPaths {
  readonly name = 'devicemapper'
  readonly engine = 'kernel'
  readonly capabilities = DEVICEMAPPER_CAPABILITIES
  readonly #layout: DeviceMapperLayout
  readonly #devices: DeviceSet
  readonly #pool: DmPool
  readonly #options: Resolved
  readonly #readOnly: boolean
  readonly #views = new HeldViews()
  readonly #holds: LayerHolds

  constructor({ root, layout, devices, pool, options, readOnly }: DeviceMapperSettings) {
    this.#layout = layout
    this.#devices = devices
    this.#pool = pool
    this.#options = options
    this.#readOnly = readOnly
    this.#holds = new LayerHolds(join(root, 'layerstack', 'holds', 'devicemapper'))
  }

  /** Clears what dead processes left behind. */
  async open(): Promise<void> {
    if (!this.#readOnly) await this.#unmountAbandoned()
    await this.#devices.open()
    if (!this.#readOnly) await this.tidy()
  }

  async idsOnDisk(): Promise<string[]> {
    return this.#layout.idsOnDisk()
  }

  async tidy(): Promise<void> {
    await this.#unmountAbandoned()
    await this.#layout.tidy()
    await this.#holds.tidy()
  }

  async #unmountAbandoned(): Promise<void> {
    for (const id of this.#layout.mountPoints()) await this.#unmountLeft(id)
  }

  async create(id: string, parent?: string, options: CreateOptions = {}): Promise<void> {
    checkLayerId(id)
    this.#mayWrite()
    const size = inSectors(sizeOption(this.name, options))
    if (this.#layout.has(id)) throw isThereAlready(id)
    if (parent !== undefined) this.#mustExist(parent)
    try {
      await this.#devices.create(id, parent, size)
    } catch (error) {
      throw storeError(error, 'SYSTEM', `could not create layer ${id}`)
    }
  }

  createReadWrite(id: string, parent?: string, options?: CreateOptions): Promise<void> {
    return this.create(id, parent, options)
  }

  get(id: string): Promise<LayerView> {
    return this.#views.get(id, async () => {
      try {
        return await this.#open(id)
      } catch (error) {
        throw storeError(error, 'SYSTEM', `could not open layer ${id}`)
      }
    })
  }

  put(id: string): Promise<void> {
    return this.#views.put(id)
  }

  async remove(id: string): Promise<void> {
    checkLayerId(id)
    this.#mayWrite()
    await this.#views.whileUnused(id, this.#holds, () => this.#devices.delete(id))
  }

  async exists(id: string): Promise<boolean> {
    return this.#layout.has(checkLayerId(id))
  }

  async list(): Promise<string[]> {
    return this.#layout.layers()
  }

  async status(): Promise<[key: string, value: string][]> {
    return statusRows({
      layout: this.#layout,
      pool: this.#pool,
      options: this.#options,
      status: await this.#devices.poolStatus(),
      deletedCount: this.#devices.deletedCount(),
    })
  }

  async metadata(id: string): Promise<Record<string, string>> {
    const record = this.#mustExist(id)
    return {
      DeviceId: String(record.deviceId),
      DeviceSize: String(record.size),
      DeviceName: this.#devices.deviceName(id, record),
    }
  }

  async cleanup(): Promise<void> {
    await this.#views.closeAll()
    await this.#devices.close()
  }

  async quiesce(id: string): Promise<void> {
    this.#mayWrite()
    this.#mustExist(id)
    await this.#views.whileUnused(id, this.#holds, () => this.#devices.release(id))
  }

  async adopt(id: string, newId: string): Promise<void> {
    checkLayerId(newId)
    this.#mayWrite()
    this.#mustExist(id)
    if (this.#layout.has(newId)) throw isThereAlready(newId)
    await this.#views.whileUnused(id, this.#holds, async () => {
      await this.#devices.release(id)
      await this.#devices.rename(id, newId)
    })
  }

  async #open(id: string): Promise<OpenedView> {
    this.#mustExist(id)
    if (this.#readOnly) {
      await this.#devices.mount(id, false)
      const view = this.#view(id)
      const close = async (): Promise<void> => {
        view.fs.syncFs.close()
        await this.#devices.unmount(id)
      }
      return { ...view, close }
    }
    const { hold, result: view } = await this.#holds.take(id, 'shared', async (sole) => {
      await this.#devices.mount(id, sole)
      this.#prepare(id)
      return this.#view(id)
    })
    let unwritten: unknown
    const close = inSteps(
      () => view.fs.syncFs.close(),
      async () => {
        // Sync on the thread pool: unmounting would write dirty data and block the event loop.
        unwritten = await syncFileSystemOf(this.#rootOf(id)).catch((error) => this.#unwritten(id, error))
      },
      () => hold.release(() => this.#devices.unmount(id)),
      () => {
        const error = unwritten
        unwritten = undefined
        if (error !== undefined) throw error
      },
    )
    return { ...view, close }
  }

  async #unwritten(id: string, cause: unknown): Promise<unknown> {
    if (!(await this.#devices.poolStatus()).isFull) return cause
    return new StoreError('NO_SPACE', `the thin pool is full: layer ${id} lost its last writes`, {
      cause,
      hint: 'remove layers, or let the pool grow (dm.loopdatasize)',
    })
  }

  #view(id: string): LayerView {
    const root = this.#rootOf(id)
    const syncFs = new HostFs({
      kind: 'host',
      root,
      readOnly: this.#readOnly,
      shared: true,
      lineage: this.#pool.name,
    })
    return { fs: layerFs(syncFs), hostPath: root }
  }

  /** Creates what Docker keeps in a layer's file system: the `rootfs` directory and the `id` file. */
  #prepare(id: string): void {
    const root = this.#rootOf(id)
    if (!existsSync(root)) {
      mkdirSync(root, { mode: 0o755 })
      chmodSync(root, 0o755)
    }
    const file = join(this.#layout.mountPoint(id), 'id')
    if (!existsSync(file)) writeFileSync(file, id, { mode: 0o600 })
  }

  #rootOf(id: string): string {
    return join(this.#layout.mountPoint(id), 'rootfs')
  }

  async #unmountLeft(id: string): Promise<void> {
    try {
      const { hold } = await this.#holds.take(id, 'exclusive', () => this.#devices.unmount(id))
      await hold.release()
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
    }
  }

  #mustExist(id: string): DeviceRecord {
    const record = this.#layout.layer(checkLayerId(id))
    if (record !== undefined) return record
    throw noLayer('devicemapper', id)
  }

  #mayWrite(): void {
    if (this.#readOnly) throw isReadOnly()
  }
}

function inSectors(size: bigint | undefined): bigint | undefined {
  return size === undefined ? undefined : (size / 512n) * 512n
}
