import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { HostFs, layerFs, naiveDiff, StoreError } from 'layerstack'
import type { CreateOptions, Driver, LayerView, ProtoDriver } from 'layerstack'

/** The number of open views by layer path. Counts this process only; a shared root needs file locks. */
const held = new Map<string, number>()

/** A minimal driver. cp(1) copies each layer from its parent, and xattrs store the attributes. */
class CopyDriver implements ProtoDriver {
  readonly name = 'copy'
  readonly engine = 'userspace'
  readonly capabilities = {
    hostPath: false,
    cheapSnapshots: false,
    sharesBlocks: false,
    nativeDiff: false,
    quota: false,
    maxDepth: Infinity,
    nativeAttributes: false,
  }
  readonly #home: string
  readonly #mine: string[] = []

  constructor(root: string) {
    this.#home = join(root, 'copy')
    mkdirSync(this.#home, { recursive: true })
  }

  async create(id: string, parent?: string, { storageOptions = {} }: CreateOptions = {}): Promise<void> {
    if (!/^[a-z0-9]/i.test(id) || id.includes('/')) throw new TypeError(`not a layer id: ${id}`)
    if (Object.keys(storageOptions).length > 0)
      throw new StoreError('ENGINE_UNSUPPORTED', 'storage options are not supported')
    if (existsSync(this.#path(id))) throw new StoreError('NAME_CONFLICT', `layer ${id} already exists`)
    if (parent !== undefined) this.#mustExist(parent)
    const making = `${this.#path(id)}~`
    if (parent === undefined) {
      mkdirSync(making)
      new HostFs({ kind: 'host', root: making, attributes: 'override' }).chown('' as never, 0, 0)
    } else execFileSync('cp', ['-a', this.#path(parent), making])
    renameSync(making, this.#path(id))
  }

  createReadWrite(id: string, parent?: string, options?: CreateOptions): Promise<void> {
    return this.create(id, parent, options)
  }

  async get(id: string): Promise<LayerView> {
    const path = this.#mustExist(id)
    held.set(path, (held.get(path) ?? 0) + 1)
    this.#mine.push(path)
    return { fs: layerFs(new HostFs({ kind: 'host', root: path, attributes: 'override' })) }
  }

  async put(id: string): Promise<void> {
    const index = this.#mine.indexOf(this.#path(id))
    if (index >= 0) this.#giveBack(this.#mine.splice(index, 1))
  }

  async remove(id: string): Promise<void> {
    const path = this.#path(id)
    if ((held.get(path) ?? 0) > 0) throw new StoreError('LAYER_IN_USE', `layer ${id} is open`)
    rmSync(path, { recursive: true, force: true })
  }

  async exists(id: string): Promise<boolean> {
    return existsSync(this.#path(id))
  }

  async list(): Promise<string[]> {
    return readdirSync(this.#home).filter((name) => !name.endsWith('~'))
  }

  async status(): Promise<[key: string, value: string][]> {
    return []
  }

  async metadata(id: string): Promise<Record<string, string>> {
    return { Directory: this.#mustExist(id) }
  }

  async cleanup(): Promise<void> {
    this.#giveBack(this.#mine.splice(0))
  }

  #giveBack(paths: readonly string[]): void {
    for (const path of paths) held.set(path, (held.get(path) ?? 0) - 1)
  }

  #mustExist(id: string): string {
    if (existsSync(this.#path(id))) return this.#path(id)
    throw new StoreError('LAYER_NOT_FOUND', `layer ${id} does not exist`)
  }

  #path(id: string): string {
    return join(this.#home, id)
  }
}

export const copy = {
  open: async ({ root }: { root: string }): Promise<Driver> => naiveDiff(new CopyDriver(root)),
}
