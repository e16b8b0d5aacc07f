import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { BLOCK } from '../../cow/block.js'
import { checkStore } from '../../cow/check.js'
import { openSharedStore, type SharedStore } from '../../cow/shared-store.js'
import type { CowStore } from '../../cow/store.js'
import { VolumeFs } from '../../cow/volume-fs.js'
import { makeDirectory } from '../../durable/make-directory.js'
import type { CreateOptions, Damage, DriverCapabilities } from '../driver.js'
import type { LayerVolumes, OpenVolume } from '../volume-driver.js'
import { isThereAlready, noLayer } from '../refusals.js'
import { sizeOfQuota } from './quota.js'

export interface PoolSettings {
  /** The driver's directory. */
  readonly home: string
  readonly readOnly: boolean
  /** Bytes of the trees kept in memory. */
  readonly cache?: number | undefined
}

/** The file that holds all layers; see docs/cow-format.md. */
function poolFile(home: string): string {
  return join(home, 'layers.cow')
}

/** Layers as volumes of one store; a layer is a snapshot of its parent. */
export class BtrfsVolumes implements LayerVolumes {
  readonly capabilities: DriverCapabilities = {
    hostPath: false,
    cheapSnapshots: true,
    sharesBlocks: true,
    nativeDiff: true,
    quota: true,
    maxDepth: Infinity,
    nativeAttributes: true,
  }
  readonly #home: string
  readonly #readOnly: boolean
  readonly #cache: number | undefined
  #shared: Promise<SharedStore> | undefined

  constructor({ home, readOnly, cache }: PoolSettings) {
    this.#home = home
    this.#readOnly = readOnly
    this.#cache = cache
  }

  /** Finishes removals that were cut short when a process ended. */
  async recover(): Promise<void> {
    if (this.#readOnly) return
    const store = await this.#store()
    await store.reap()
    await store.commit()
  }

  async exists(id: string): Promise<boolean> {
    return this.#isMissing() ? false : (await this.#store()).has(id)
  }

  async list(): Promise<string[]> {
    return this.#isMissing() ? [] : (await this.#store()).names()
  }

  async create(id: string, parent: string | undefined, options: CreateOptions): Promise<void> {
    const limit = sizeOfQuota(options, true)
    const store = await this.#store()
    await store.changeLater(() => {
      if (store.has(id)) throw isThereAlready(id)
      if (parent !== undefined && !store.has(parent)) {
        throw noLayer('btrfs', parent)
      }
      store.create(id, { from: parent, limit })
    })
    await store.commit()
  }

  async open(id: string, options: { readOnly: boolean; volatile: boolean }): Promise<OpenVolume> {
    const store = await this.#store()
    const volume = store.volume(id)
    if (volume === undefined) throw noLayer('btrfs', id)
    const syncFs = new VolumeFs(store, volume, options)
    const close = async (): Promise<void> => {
      syncFs.close()
      if (!syncFs.readOnly) await store.commit()
    }
    return { syncFs, close }
  }

  async remove(id: string): Promise<void> {
    const store = await this.#store()
    await store.changeLater(() => store.remove(id))
    await store.commit()
    await store.reap()
    await store.commit()
  }

  async rename(id: string, newId: string): Promise<void> {
    const store = await this.#store()
    await store.changeLater(() => store.rename(id, newId))
    await store.commit()
  }

  async sync(): Promise<void> {
    if (this.#shared !== undefined) await (await this.#store()).commit()
  }

  async status(): Promise<[key: string, value: string][]> {
    const rows: [string, string][] = [['Pool', poolFile(this.#home)]]
    if (this.#isMissing()) return rows
    const { used } = (await this.#store()).space.state
    return [...rows, ['Space Used', `${used * BLOCK} B`], ['Quota', 'true']]
  }

  async metadata(): Promise<Record<string, string>> {
    return { Pool: poolFile(this.#home) }
  }

  async check(signal: AbortSignal | undefined): Promise<Damage[]> {
    if (this.#isMissing()) return []
    const path = poolFile(this.#home)
    return (await checkStore(await this.#store(), signal)).map(({ block, what, volume }) => ({
      path,
      layer: volume,
      detail: `block ${block}: ${what}`,
    }))
  }

  async close(): Promise<void> {
    const shared = this.#shared
    this.#shared = undefined
    await (await shared)?.close()
  }

  #isMissing(): boolean {
    return this.#readOnly && !existsSync(poolFile(this.#home))
  }

  async #store(): Promise<CowStore> {
    this.#shared ??= this.#openPool()
    const opening = this.#shared
    try {
      return (await opening).store
    } catch (error) {
      if (this.#shared === opening) this.#shared = undefined
      throw error
    }
  }

  async #openPool(): Promise<SharedStore> {
    if (!this.#readOnly) await makeDirectory(this.#home, { mode: 0o710 })
    return openSharedStore(poolFile(this.#home), { readOnly: this.#readOnly, cache: this.#cache })
  }
}

/**
 * Reports whether the userspace engine keeps layers in this root. An unreadable file counts, so that no other layers
 * are made beside it.
 */
export async function holdsVolumes(home: string): Promise<boolean> {
  if (!existsSync(poolFile(home))) return false
  const volumes = new BtrfsVolumes({ home, readOnly: true })
  try {
    return (await volumes.list()).length > 0
  } catch {
    return true
  } finally {
    await volumes.close().catch(() => undefined)
  }
}
