import { join } from 'node:path'
import { StoreError, storeError } from '../../../errors.js'
import { HostFs } from '../../../fs/host/host-fs.js'
import { prepareNewRoot } from '../../../fs/host/new-root.js'
import type { HostFsSpec } from '../../../fs/spec.js'
import { limitSubvolume } from '../../../sys/btrfs-quota.js'
import { subvolumeInfo } from '../../../sys/btrfs-subvolume.js'
import { fileSystemOf } from '../../../sys/file-system.js'
import { syncFileSystemOf } from '../../../sys/syncfs.js'
import type { ApplyTarget } from '../../../tar/apply.js'
import type { DiffSource } from '../../../tar/diff.js'
import type { CreateOptions, Damage, DriverCapabilities, LayerView, ProtoDriver } from '../../driver.js'
import { HandedOut } from '../../handed-out.js'
import { openDirectoryView } from '../../directory-view.js'
import { HeldViews, type OpenedView } from '../../held-views.js'
import type { AttributeSettings } from '../../attribute-mode.js'
import { LayerHolds } from '../../layer-holds.js'
import { checkLayerId } from '../../layer-id.js'
import { unmountBelow } from '../../mounts.js'
import type { FastPaths } from '../../naive-diff.js'
import type { BtrfsLayout } from './layout.js'
import type { Loopback } from './loopback.js'
import { clearReplacing, fillNested, hasNested, isReplacing, replaceNested } from './nested.js'
import { sizeOfQuota } from '../quota.js'
import { isHandedOut, isReadOnly, isThereAlready, noLayer } from '../../refusals.js'

export interface BtrfsSettings {
  readonly root: string
  readonly layout: BtrfsLayout
  readonly attributeSettings: AttributeSettings
  /** Rows of `status()` on how attributes are kept. */
  readonly attributeRows: readonly [string, string][]
  readonly readOnly: boolean
  /** What the layout is mounted from, if the driver uses its own file. */
  readonly loopback: Loopback | undefined
  /** Whether this process may search B-trees, and so find what changed. */
  readonly searches: boolean
  /** Whether the file system counts what subvolumes use, and this process may set limits. */
  readonly quota: boolean
}

/**
 * Docker's btrfs: every layer is a subvolume that holds the whole tree, created as a snapshot of its parent. Parent and
 * child share all blocks that neither has written since.
 */
export class BtrfsDriver implements ProtoDriver, FastPaths {
  readonly name = 'btrfs'
  readonly engine = 'kernel'
  readonly capabilities: DriverCapabilities
  readonly #layout: BtrfsLayout
  readonly #attributeSettings: AttributeSettings
  readonly #attributeRows: readonly [string, string][]
  readonly #readOnly: boolean
  readonly #loopback: Loopback | undefined
  readonly #views = new HeldViews()
  readonly #holds: LayerHolds
  readonly #handedOut: HandedOut
  /** Layers opened by this driver that may have writes not yet on disk. */
  readonly #unsynced = new Set<string>()

  constructor(settings: BtrfsSettings) {
    const { root, layout, attributeSettings, attributeRows, readOnly, loopback, searches, quota } = settings
    this.#layout = layout
    this.#attributeSettings = attributeSettings
    this.#attributeRows = attributeRows
    this.#readOnly = readOnly
    this.#loopback = loopback
    this.#holds = new LayerHolds(join(root, 'layerstack', 'holds', 'btrfs'))
    this.#handedOut = new HandedOut(join(root, 'layerstack', 'handed-out', 'btrfs'))
    const native = attributeSettings.attributes === 'native'
    this.capabilities = {
      hostPath: native,
      cheapSnapshots: true,
      sharesBlocks: true,
      nativeDiff: searches,
      quota,
      maxDepth: Infinity,
      nativeAttributes: native,
    }
  }

  async create(id: string, parent?: string, options: CreateOptions = {}): Promise<void> {
    await this.#loopback?.attach()
    checkLayerId(id)
    this.#mayWrite()
    const quota = sizeOfQuota(options, this.capabilities.quota)
    if (this.#layout.exists(id)) throw isThereAlready(id)
    if (parent !== undefined) this.#mustExist(parent)
    const prepare = async (directory: string): Promise<void> => {
      if (parent === undefined) this.#prepareRoot(directory)
      else await fillNested(this.#layout.directory(parent), this.#specOf(directory))
      if (quota !== undefined) limitSubvolume(directory, quota)
    }
    try {
      await this.#layout.create(id, parent, quota, prepare, { elsewhere: this.#unsynced.size > 0 })
      if (parent !== undefined && !this.#views.has(parent)) this.#unsynced.delete(parent)
    } catch (error) {
      throw storeError(error, 'SYSTEM', `could not create layer ${id}`)
    }
  }

  createReadWrite(id: string, parent?: string, options?: CreateOptions): Promise<void> {
    return this.create(id, parent, options)
  }

  get(id: string): Promise<LayerView> {
    return this.#views.get(id, () => this.#open(id))
  }

  put(id: string): Promise<void> {
    return this.#views.put(id)
  }

  async remove(id: string): Promise<void> {
    await this.#loopback?.attach()
    checkLayerId(id)
    this.#mayWrite()
    await this.#views.whileUnused(id, this.#holds, async () => {
      unmountBelow(this.#layout.directory(id))
      await this.#layout.remove(id)
      this.#handedOut.forget(id)
    })
    this.#unsynced.delete(id)
  }

  async exists(id: string): Promise<boolean> {
    await this.#loopback?.attach()
    return this.#layout.exists(checkLayerId(id))
  }

  async list(): Promise<string[]> {
    await this.#loopback?.attach()
    return this.#layout.list()
  }

  /** Docker also shows the btrfs-progs versions it was built with; this driver uses no such library. */
  async status(): Promise<[key: string, value: string][]> {
    await this.#loopback?.attach()
    return [
      ['Backing Filesystem', fileSystemOf(this.#layout.home).name],
      ...(this.#loopback === undefined ? [] : [['Loop file', this.#loopback.file] as [string, string]]),
      ['Native Diff', String(this.capabilities.nativeDiff)],
      ['Quota', String(this.capabilities.quota)],
      ...this.#attributeRows,
    ]
  }

  async metadata(id: string): Promise<Record<string, string>> {
    await this.#loopback?.attach()
    this.#mustExist(id)
    return { SourceDir: this.#layout.directory(id) }
  }

  async cleanup(): Promise<void> {
    await this.#views.closeAll()
    await this.#loopback?.detach()
  }

  async applyTarget(id: string): Promise<ApplyTarget> {
    await this.#loopback?.attach()
    this.#mustExist(id)
    return { files: { ...this.#spec(id), untrusted: this.#handedOut.has(id) }, form: 'merged', lowers: [] }
  }

  /**
   * Compares by generation if this layer is a snapshot of `parent`, else compares two whole trees. Generations do not
   * cover the content of nested subvolumes.
   */
  async diffSource(id: string, parent?: string): Promise<DiffSource> {
    const upper = await this.#tree(id)
    if (!this.#readOnly) await this.#finishReplacing(id)
    if (parent === undefined) return { form: 'compare', upper }
    const lower = await this.contents(parent)
    const { parentUuid, madeAt, madeAtNs } = subvolumeInfo(upper.root)
    if (parentUuid !== subvolumeInfo(lower.root).uuid) return { form: 'compare', upper, lower }
    if (!this.capabilities.nativeDiff || hasNested(upper.root))
      return { form: 'compare', upper, lower, madeAtNs }
    await syncFileSystemOf(upper.root)
    return { form: 'snapshot', upper, lower, madeAt }
  }

  async contents(id: string): Promise<HostFsSpec> {
    await this.#loopback?.attach()
    this.#mustExist(id)
    return { ...this.#spec(id), readOnly: true, untrusted: this.#handedOut.has(id) }
  }

  async check(): Promise<Damage[]> {
    await this.#loopback?.attach()
    return this.#readOnly ? [] : this.#layout.tidy()
  }

  /** Making a subvolume read-only does not stop programs that already have a file in it open from writing. */
  async adoptable(id: string): Promise<boolean> {
    return !this.#handedOut.has(checkLayerId(id))
  }

  async quiesce(id: string): Promise<void> {
    await this.#loopback?.attach()
    this.#mayWrite()
    this.#mustExist(id)
    await this.#whileUnused(id, async () => undefined)
  }

  async adopt(id: string, newId: string): Promise<void> {
    await this.#loopback?.attach()
    checkLayerId(newId)
    this.#mayWrite()
    this.#mustExist(id)
    if (this.#layout.exists(newId)) throw isThereAlready(newId)
    await this.#whileUnused(id, async () => {
      if (this.#handedOut.has(id)) throw isHandedOut(id)
      await replaceNested(this.#spec(id))
      await this.#layout.adopt(id, newId)
    })
    if (this.#unsynced.delete(id)) this.#unsynced.add(newId)
  }

  #whileUnused(id: string, work: () => Promise<void>): Promise<void> {
    return this.#views.whileUnused(id, this.#holds, async () => {
      unmountBelow(this.#layout.directory(id))
      await work()
    })
  }

  async tidy(): Promise<void> {
    await this.#loopback?.attach()
    await this.#layout.tidy()
    await this.#holds.tidy()
  }

  async idsOnDisk(): Promise<string[]> {
    await this.#loopback?.attach()
    return this.#layout.idsOnDisk()
  }

  /** Skips layers in use: they were cleared when they were opened, or are being adopted. */
  async #finishReplacing(id: string): Promise<void> {
    const root = this.#layout.directory(id)
    if (!isReplacing(root)) return
    try {
      await this.#views.whileUnused(id, this.#holds, () => clearReplacing(root))
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'LAYER_IN_USE') throw error
    }
  }

  #prepareRoot(directory: string): void {
    using syncFs = new HostFs(this.#specOf(directory))
    prepareNewRoot(syncFs)
  }

  async #open(id: string): Promise<OpenedView> {
    await this.#loopback?.attach()
    this.#mustExist(id)
    if (!this.#readOnly) this.#unsynced.add(id)
    const hold = this.#readOnly
      ? undefined
      : (await this.#holds.take(id, 'shared', () => clearReplacing(this.#layout.directory(id)))).hold
    const spec = { ...this.#spec(id), readOnly: this.#readOnly, shared: true }
    const onHandOut = (): void => {
      if (!this.#readOnly) this.#handedOut.mark(id)
    }
    return openDirectoryView(spec, { hold, onHandOut: this.capabilities.hostPath ? onHandOut : undefined })
  }

  /** The layer's tree, for work on all of it while programs may write to it. */
  async #tree(id: string): Promise<HostFsSpec> {
    return { ...(await this.contents(id)), untrusted: true }
  }

  #spec(id: string): HostFsSpec {
    return this.#specOf(this.#layout.directory(id))
  }

  #specOf(root: string): HostFsSpec {
    return { kind: 'host', root, attributes: this.#attributeSettings.attributes, lineage: 'btrfs' }
  }

  #mustExist(id: string): void {
    if (this.#layout.exists(checkLayerId(id))) return
    throw noLayer('btrfs', id)
  }

  #mayWrite(): void {
    if (this.#readOnly) throw isReadOnly()
  }
}
