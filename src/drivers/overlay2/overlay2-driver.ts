import { join } from 'node:path'
import { isErrno, StoreError, storeError } from '../../errors.js'
import type { ByteString } from '../../fs/bytes.js'
import { HostFs } from '../../fs/host/host-fs.js'
import { dropInherited, prepareNewRoot } from '../../fs/host/new-root.js'
import { openSyncFs } from '../../fs/union/open-sync-fs.js'
import { isOverlayXattr } from '../../fs/overlay-marks.js'
import { copyAttributes } from '../../fs/trees/copy-node.js'
import { layerFs } from '../../fs/facade/layer-fs-adapter.js'
import type { HostFsSpec, SyncFsSpec } from '../../fs/spec.js'
import { fileSystemOf } from '../../sys/file-system.js'
import { syncFileSystemOf } from '../../sys/syncfs.js'
import type { ApplyTarget } from '../../tar/apply.js'
import type { DiffSource } from '../../tar/diff.js'
import type {
  CreateOptions,
  Damage,
  DriverCapabilities,
  Engine,
  GetOptions,
  LayerView,
  ProtoDriver,
  ReadWriteOptions,
} from '../driver.js'
import { HeldViews, inSteps, type OpenedView } from '../held-views.js'
import type { AttributeSettings } from '../attribute-mode.js'
import { LayerHolds } from '../layer-holds.js'
import { checkLayerId } from '../layer-id.js'
import { unmountBelow } from '../mounts.js'
import type { FastPaths } from '../naive-diff.js'
import { detachLayer, mountLayer, releaseLayer } from './kernel.js'
import { Overlay2Layout } from './layout.js'
import type { OpenedLayer } from './opened-layer.js'
import { unionOf } from './userspace.js'
import { isHandedOut, isReadOnly, isStillWritten, isThereAlready, noLayer } from '../refusals.js'

const ROOT = '' as ByteString

export interface Overlay2Settings {
  readonly root: string
  readonly engine: Engine
  readonly attributeSettings: AttributeSettings
  /** Rows of `status()` on how attributes are kept. */
  readonly attributeRows: readonly [string, string][]
  readonly mountFlags: number
  readonly readOnly: boolean
  /** The maximum number of layers below another layer. */
  readonly maxDepth: number
  /** Whether the file system reports the types of directory entries. */
  readonly dType: boolean
}

/**
 * Docker's overlay2. A layer is a directory that holds its differences from the layers below, in overlayfs form. The
 * kernel's overlay shows them as one tree, and so does `UnionFs`, over the same directories.
 */
export class Overlay2Driver implements ProtoDriver, FastPaths {
  readonly name = 'overlay2'
  readonly engine: Engine
  readonly capabilities: DriverCapabilities
  readonly #layout: Overlay2Layout
  readonly #attributeSettings: AttributeSettings
  readonly #attributeRows: readonly [string, string][]
  readonly #mountFlags: number
  readonly #readOnly: boolean
  readonly #dType: boolean
  readonly #views = new HeldViews()
  readonly #holds: LayerHolds

  constructor(settings: Overlay2Settings) {
    const { root, engine, attributeSettings, attributeRows, mountFlags, readOnly, maxDepth, dType } = settings
    this.#dType = dType
    this.engine = engine
    this.#attributeSettings = attributeSettings
    this.#attributeRows = attributeRows
    this.#mountFlags = mountFlags
    this.#readOnly = readOnly
    this.#layout = new Overlay2Layout(join(root, 'overlay2'))
    this.#holds = new LayerHolds(join(root, 'layerstack', 'holds', 'overlay2'))
    this.capabilities = {
      hostPath: engine === 'kernel',
      cheapSnapshots: true,
      sharesBlocks: false,
      nativeDiff: true,
      quota: false,
      maxDepth,
      nativeAttributes: attributeSettings.attributes === 'native',
    }
  }

  create(id: string, parent?: string, options?: CreateOptions): Promise<void> {
    return this.#create(id, parent, { ...options, volatile: false })
  }

  createReadWrite(id: string, parent?: string, options: ReadWriteOptions = {}): Promise<void> {
    return this.#create(id, parent, options)
  }

  async #create(id: string, parent: string | undefined, options: ReadWriteOptions): Promise<void> {
    checkLayerId(id)
    this.#mayWrite()
    refuseStorageOptions(options)
    if (this.#layout.exists(id)) throw isThereAlready(id)
    const lowers = parent === undefined ? [] : await this.#lowersOfChild(parent)
    try {
      await this.#layout.create(id, {
        parent,
        lowers,
        volatile: options.volatile === true,
        prepare: () => this.#prepareRoot(id, parent),
      })
    } catch (error) {
      throw storeError(error, 'SYSTEM', `could not create layer ${id}`)
    }
  }

  get(id: string, { volatile = false }: GetOptions = {}): Promise<LayerView> {
    return this.#views.get(id, async () => {
      try {
        return await this.#open(await this.#layerToOpen(id, volatile))
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
    await this.#views.whileUnused(id, this.#holds, async () => {
      detachLayer(this.#layout.merged(id))
      if (this.#mayBeHostDirectory(id)) unmountBelow(this.#layout.diff(id))
      await this.#layout.remove(id)
    })
  }

  async exists(id: string): Promise<boolean> {
    return this.#layout.exists(checkLayerId(id))
  }

  async list(): Promise<string[]> {
    return this.#layout.list()
  }

  async status(): Promise<[key: string, value: string][]> {
    return [
      ['Backing Filesystem', fileSystemOf(this.#layout.home).name],
      ['Supports d_type', String(this.#dType)],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', String(this.#attributeSettings.overlayXattrs === 'user')],
      ['Engine', this.engine],
      ...this.#attributeRows,
    ]
  }

  async metadata(id: string): Promise<Record<string, string>> {
    this.#mustExist(id)
    const lowers = (await this.#layout.lowerIds(id)).map((lower) => this.#layout.diff(lower))
    return {
      MergedDir: this.#layout.merged(id),
      UpperDir: this.#layout.diff(id),
      WorkDir: this.#layout.work(id),
      ...(lowers.length > 0 && { LowerDir: lowers.join(':') }),
    }
  }

  async check(): Promise<Damage[]> {
    return this.#readOnly ? [] : this.#layout.tidy()
  }

  cleanup(): Promise<void> {
    return this.#views.closeAll()
  }

  async applyTarget(id: string): Promise<ApplyTarget> {
    this.#mustExist(id)
    const lowers = await this.#lowerSpecs(id)
    const files = { ...this.#spec(id), untrusted: this.#views.has(id) }
    return { files, form: lowers.length === 0 ? 'merged' : 'overlay', lowers }
  }

  /** Reads the upper directory alone if `parent` is the layer just below, else compares two whole trees. */
  async diffSource(id: string, parent?: string): Promise<DiffSource> {
    this.#mustExist(id)
    await this.#releaseIfUnused(id)
    const below = await this.#layout.lowerIds(id)
    if (parent !== undefined && below[0] === parent) {
      const mount = this.engine === 'kernel' ? { mount: this.#attributeSettings.overlayXattrs } : {}
      return { form: 'overlay', upper: this.#untrustedSpec(id), lowers: await this.#lowerSpecs(id), ...mount }
    }
    if (parent === undefined) return { form: 'compare', upper: await this.#tree(id) }
    this.#mustExist(parent)
    return { form: 'compare', upper: await this.#tree(id), lower: await this.#tree(parent) }
  }

  async contents(id: string): Promise<HostFsSpec> {
    this.#mustExist(id)
    return this.#readSpec(id)
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
      if (this.#isHostDirectory(id)) throw isHandedOut(id)
      await this.#layout.adopt(id, newId)
    })
  }

  #whileUnused(id: string, work: () => Promise<void>): Promise<void> {
    return this.#views.whileUnused(id, this.#holds, async () => {
      const merged = this.#layout.merged(id)
      if (!releaseLayer(merged)) throw isStillWritten(id, merged)
      await work()
    })
  }

  async adoptable(id: string): Promise<boolean> {
    checkLayerId(id)
    return !this.#isHostDirectory(id)
  }

  /** A layer with none below it is not mounted: its view is the upper directory itself. */
  #isHostDirectory(id: string): boolean {
    return this.capabilities.hostPath && this.#layout.lowerLinks(id).length === 0
  }

  /** Also true for a layer whose `lower` is damaged or was never written, so that such a layer can be removed. */
  #mayBeHostDirectory(id: string): boolean {
    try {
      return this.#isHostDirectory(id)
    } catch (error) {
      if (error instanceof StoreError && error.code === 'STORE_CORRUPT') return true
      throw error
    }
  }

  /** Unmounts a mount whose layer no process holds, unless a program still writes to it. */
  async #releaseIfUnused(id: string): Promise<void> {
    if (this.#readOnly || this.#views.has(id) || !this.#layout.isMounted(id)) return
    try {
      const { hold } = await this.#holds.take(id, 'exclusive', async () => {
        releaseLayer(this.#layout.merged(id))
      })
      await hold.release()
    } catch (error) {
      // Another process has the layer open, or this process may not unmount.
      if (!isErrno(error, 'EPERM') && !(error instanceof StoreError && error.code === 'LAYER_IN_USE'))
        throw error
    }
  }

  async replace(id: string, newId: string): Promise<void> {
    this.#mayWrite()
    this.#mustExist(newId)
    await this.#layout.replace(checkLayerId(id), newId)
  }

  async mend(id: string, parent?: string): Promise<void> {
    this.#mayWrite()
    await this.#layout.mend(checkLayerId(id), parent === undefined ? [] : await this.#lowersOfChild(parent))
  }

  async #lowersOfChild(parent: string): Promise<string[]> {
    this.#mustExist(parent)
    const lowers = [`l/${await this.#layout.link(parent)}`, ...(await this.#layout.stack(parent))]
    const { maxDepth } = this.capabilities
    if (lowers.length <= maxDepth) return lowers
    throw new StoreError(
      'ENGINE_UNSUPPORTED',
      `cannot stack a layer on ${lowers.length} layers: the maximum is ${maxDepth}`,
      {
        hint: 'flatten the image first',
      },
    )
  }

  /**
   * Copies the parent's root attributes: a layer's root directory looks like its parent's until the layer changes it.
   */
  #prepareRoot(id: string, parent: string | undefined): void {
    using to = new HostFs(this.#spec(id))
    if (parent === undefined) return prepareNewRoot(to)
    dropInherited(to)
    using from = new HostFs(this.#readSpec(parent))
    const original = { fs: from, path: ROOT, stat: from.lstat(ROOT) }
    copyAttributes(original, { fs: to, path: ROOT }, { isLeftOut: isOverlayXattr })
  }

  async #layerToOpen(id: string, volatile: boolean): Promise<OpenedLayer> {
    this.#mustExist(id)
    const lowers = await this.#layout.stack(id)
    const lowerIds = this.engine === 'userspace' ? await this.#layout.lowerIds(id) : []
    return {
      id,
      diff: this.#layout.diff(id),
      work: this.#layout.work(id),
      merged: this.#layout.merged(id),
      lowers: lowerIds.map((lower) => this.#layout.diff(lower)),
      lowerLinks: lowers.map((link) => `${this.#layout.home}/${link}`),
      readOnly: this.#readOnly || this.#layout.isCommitted(id),
      volatile,
    }
  }

  async #open(layer: OpenedLayer): Promise<OpenedView> {
    if (this.#readOnly) return this.#openUnheld(layer, true)
    const kind = this.engine === 'userspace' && !layer.readOnly ? 'exclusive' : 'shared'
    const { hold, result: view } = await this.#holds.take(layer.id, kind, async (sole) => {
      // A mount without a holder was left behind by a dead process.
      const isReleased = !sole || releaseLayer(layer.merged)
      if (!isReleased && this.engine === 'userspace') throw isStillWritten(layer.id, layer.merged)
      return this.#openUnheld(layer, sole)
    })
    const giveBack = async (): Promise<void> => {
      try {
        // Sync first, off this thread: unmounting syncs, however long that takes, and would block the caller's thread.
        if (isWritableMount(layer, view)) await syncFileSystemOf(layer.diff)
      } finally {
        await hold.release(async () => void releaseLayer(layer.merged))
      }
    }
    return { ...view, close: inSteps(() => view.close(), giveBack) }
  }

  async tidy(): Promise<void> {
    for (const id of this.#layout.mounted()) await this.#releaseIfUnused(id)
    await this.#layout.tidy()
    await this.#holds.tidy()
  }

  async idsOnDisk(): Promise<string[]> {
    return this.#layout.idsOnDisk()
  }

  async #openUnheld(layer: OpenedLayer, sole: boolean): Promise<OpenedView> {
    const { id, diff, readOnly, lowerLinks } = layer
    if (this.engine === 'userspace') {
      const syncFs = openSyncFs(unionOf(layer, (directory) => this.#specOf(directory)))
      return { fs: layerFs(syncFs), close: async () => syncFs.close() }
    }
    const hostPath = lowerLinks.length === 0 ? diff : await this.#mount(layer, sole)
    const syncFs = new HostFs({ ...this.#spec(id), root: hostPath, readOnly, shared: true })
    return { fs: layerFs(syncFs), hostPath, close: async () => syncFs.close() }
  }

  /** Broken links show up only when mounting. `lowerIds` repairs them. */
  async #mount(layer: OpenedLayer, sole: boolean): Promise<string> {
    const settings = { attributeSettings: this.#attributeSettings, mountFlags: this.#mountFlags }
    try {
      return mountLayer(layer, settings, sole)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
      await this.#layout.lowerIds(layer.id)
      return mountLayer(layer, settings, sole)
    }
  }

  /** The layer with all layers below it, read-only. */
  async #tree(id: string): Promise<SyncFsSpec> {
    const lowers = await this.#lowerSpecs(id)
    return lowers.length === 0
      ? this.#untrustedSpec(id)
      : { kind: 'union', lowers: [this.#untrustedSpec(id), ...lowers] }
  }

  async #lowerSpecs(id: string): Promise<HostFsSpec[]> {
    return (await this.#layout.lowerIds(id)).map((lower) => this.#readSpec(lower))
  }

  /** Programs may be writing to the layer, through its mount or by its path. */
  #untrustedSpec(id: string): HostFsSpec {
    return { ...this.#readSpec(id), untrusted: true }
  }

  #readSpec(id: string): HostFsSpec {
    return { ...this.#spec(id), readOnly: true }
  }

  #spec(id: string): HostFsSpec {
    return this.#specOf(this.#layout.diff(id))
  }

  #specOf(root: string): HostFsSpec {
    return { kind: 'host', root, ...this.#attributeSettings }
  }

  #mustExist(id: string): void {
    if (this.#layout.exists(checkLayerId(id))) return
    throw noLayer('overlay2', id)
  }

  #mayWrite(): void {
    if (this.#readOnly) throw isReadOnly()
  }
}

function isWritableMount({ merged, readOnly, volatile }: OpenedLayer, { hostPath }: OpenedView): boolean {
  return hostPath === merged && !readOnly && !volatile
}

function refuseStorageOptions({ storageOptions = {} }: CreateOptions): void {
  for (const name of Object.keys(storageOptions)) {
    throw new StoreError('ENGINE_UNSUPPORTED', `overlay2 does not support the storage option ${name}`)
  }
}
