import { join } from 'node:path'
import { StoreError, storeError } from '../../errors.js'
import { HostFs } from '../../fs/host/host-fs.js'
import { prepareNewRoot } from '../../fs/host/new-root.js'
import type { HostFsSpec } from '../../fs/spec.js'
import { runJob } from '../../jobs/run/run-job.js'
import { fileSystemOf } from '../../sys/file-system.js'
import type { ApplyTarget } from '../../tar/apply.js'
import type { DiffSource } from '../../tar/diff.js'
import { hasDescriptorPaths } from '../../sys/descriptor-path.js'
import type { CreateOptions, Damage, DriverCapabilities, LayerView, ProtoDriver } from '../driver.js'
import { HandedOut } from '../handed-out.js'
import { openDirectoryView } from '../directory-view.js'
import { HeldViews, type OpenedView } from '../held-views.js'
import type { AttributeSettings } from '../attribute-mode.js'
import { LayerHolds } from '../layer-holds.js'
import { checkLayerId } from '../layer-id.js'
import { unmountBelow } from '../mounts.js'
import type { FastPaths } from '../naive-diff.js'
import { VfsLayout } from './layout.js'
import { isHandedOut, isReadOnly, isThereAlready, noLayer } from '../refusals.js'

export interface VfsSettings {
  readonly root: string
  readonly attributeSettings: AttributeSettings
  /** Rows of `status()` on how attributes are kept. */
  readonly attributeRows: readonly [string, string][]
  readonly readOnly: boolean
}

/**
 * Docker's vfs: every layer is a full copy of its parent. Needs nothing of the system. A layer costs as much space as
 * the image; on a file system that can share blocks (btrfs, XFS), the copies share them.
 */
export class VfsDriver implements ProtoDriver, FastPaths {
  readonly name = 'vfs'
  readonly engine = 'userspace'
  readonly capabilities: DriverCapabilities
  readonly #layout: VfsLayout
  readonly #attributeSettings: AttributeSettings
  readonly #attributeRows: readonly [string, string][]
  readonly #readOnly: boolean
  readonly #views = new HeldViews()
  readonly #holds: LayerHolds
  readonly #handedOut: HandedOut

  constructor({ root, attributeSettings, attributeRows, readOnly }: VfsSettings) {
    this.#layout = new VfsLayout(join(root, 'vfs'))
    this.#attributeSettings = attributeSettings
    this.#attributeRows = attributeRows
    this.#readOnly = readOnly
    this.#holds = new LayerHolds(join(root, 'layerstack', 'holds', 'vfs'))
    this.#handedOut = new HandedOut(join(root, 'layerstack', 'handed-out', 'vfs'))
    const native = attributeSettings.attributes === 'native'
    this.capabilities = {
      hostPath: native && (process.platform !== 'linux' || hasDescriptorPaths()),
      cheapSnapshots: false,
      sharesBlocks: false,
      nativeDiff: false,
      quota: false,
      maxDepth: Infinity,
      nativeAttributes: native,
    }
  }

  async create(id: string, parent?: string, options: CreateOptions = {}): Promise<void> {
    checkLayerId(id)
    this.#mayWrite()
    refuseStorageOptions(options)
    if (this.#layout.exists(id)) throw isThereAlready(id)
    if (parent !== undefined) this.#mustExist(parent)
    try {
      await this.#layout.create(id, (directory, copyRecord) =>
        this.#fill(this.#specOf(directory), parent, copyRecord),
      )
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
    checkLayerId(id)
    this.#mayWrite()
    await this.#views.whileUnused(id, this.#holds, async () => {
      unmountBelow(this.#layout.directory(id))
      await this.#layout.remove(id)
      this.#handedOut.forget(id)
    })
  }

  async exists(id: string): Promise<boolean> {
    return this.#layout.exists(checkLayerId(id))
  }

  async list(): Promise<string[]> {
    return this.#layout.list()
  }

  async status(): Promise<[key: string, value: string][]> {
    return [['Backing Filesystem', fileSystemOf(this.#layout.home).name], ...this.#attributeRows]
  }

  async metadata(id: string): Promise<Record<string, string>> {
    this.#mustExist(id)
    return { SourceDir: this.#layout.directory(id) }
  }

  cleanup(): Promise<void> {
    return this.#views.closeAll()
  }

  async applyTarget(id: string): Promise<ApplyTarget> {
    this.#mustExist(id)
    return { files: { ...this.#spec(id), untrusted: this.#handedOut.has(id) }, form: 'merged', lowers: [] }
  }

  async diffSource(id: string, parent?: string): Promise<DiffSource> {
    const upper = await this.#tree(id)
    if (parent === undefined) return { form: 'compare', upper }
    const copy = { record: this.#layout.copyRecord(id), of: parent }
    return { form: 'compare', upper, lower: await this.contents(parent), copy }
  }

  async contents(id: string): Promise<HostFsSpec> {
    this.#mustExist(id)
    return { ...this.#spec(id), readOnly: true, untrusted: this.#handedOut.has(id) }
  }

  async check(): Promise<Damage[]> {
    return this.#readOnly ? [] : this.#layout.tidy()
  }

  async adoptable(id: string): Promise<boolean> {
    return !this.#handedOut.has(checkLayerId(id))
  }

  async quiesce(id: string): Promise<void> {
    this.#mayWrite()
    this.#mustExist(id)
    await this.#whileUnused(id, async () => undefined)
  }

  async adopt(id: string, newId: string): Promise<void> {
    checkLayerId(newId)
    this.#mayWrite()
    this.#mustExist(id)
    if (this.#layout.exists(newId)) throw isThereAlready(newId)
    await this.#whileUnused(id, async () => {
      if (this.#handedOut.has(id)) throw isHandedOut(id)
      await this.#layout.adopt(id, newId)
    })
  }

  #whileUnused(id: string, work: () => Promise<void>): Promise<void> {
    return this.#views.whileUnused(id, this.#holds, async () => {
      unmountBelow(this.#layout.directory(id))
      await work()
    })
  }

  async tidy(): Promise<void> {
    await this.#layout.tidy()
    await this.#holds.tidy()
  }

  async idsOnDisk(): Promise<string[]> {
    return this.#layout.idsOnDisk()
  }

  async #fill(to: HostFsSpec, parent: string | undefined, copyRecord: string): Promise<void> {
    {
      using syncFs = new HostFs(to)
      prepareNewRoot(syncFs)
    }
    if (parent === undefined) return
    const record = { file: copyRecord, parent }
    await runJob({ kind: 'copyTree', from: await this.#tree(parent), to, record })
  }

  async #open(id: string): Promise<OpenedView> {
    this.#mustExist(id)
    const hold = this.#readOnly
      ? undefined
      : (await this.#holds.take(id, 'shared', async () => undefined)).hold
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
    return { kind: 'host', root, attributes: this.#attributeSettings.attributes }
  }

  #mustExist(id: string): void {
    if (this.#layout.exists(checkLayerId(id))) return
    throw noLayer('vfs', id)
  }

  #mayWrite(): void {
    if (this.#readOnly) throw isReadOnly()
  }
}

function refuseStorageOptions({ storageOptions = {} }: CreateOptions): void {
  for (const name of Object.keys(storageOptions)) {
    throw new StoreError('ENGINE_UNSUPPORTED', `vfs does not support the storage option ${name}`)
  }
}
