import assert from 'node:assert/strict'
import type { Driver, LayerView } from '../drivers/driver.js'
import type { DriverFactory } from '../drivers/factory.js'
import type { LayerFs } from '../fs/facade/layer-fs.js'
import { MemoryFs } from '../fs/memory/memory-fs.js'
import { layerFs } from '../fs/facade/layer-fs-adapter.js'
import { applyEdits, type Edit } from './edit.js'
import { chunksOf, tarOf, type TarEntry } from './tar-of.js'
import { treeOf, treesDiffer, type Tree, type TreeOptions } from './tree.js'

export interface SubjectOptions {
  readonly factory: Pick<DriverFactory, 'open'>
  readonly engine: Parameters<DriverFactory['open']>[0]['engine']
  readonly driverOptions?: Readonly<Record<string, unknown>> | undefined
}

/** A driver on a root of its own, with the operations that the cases use. */
export class Subject {
  readonly root: string
  driver: Driver
  readonly #options: SubjectOptions
  readonly #opened: Driver[]
  /** By layer id: the edits that made it. Applied to a plain tree, they show what the layer must look like. */
  readonly #references = new Map<string, readonly Edit[]>()

  private constructor(root: string, driver: Driver, options: SubjectOptions) {
    this.root = root
    this.driver = driver
    this.#opened = [driver]
    this.#options = options
  }

  static async open(root: string, options: SubjectOptions): Promise<Subject> {
    return new Subject(root, await openOn(root, options), options)
  }

  /** Opens a second driver on the same root, as another process would. */
  async another(): Promise<Driver> {
    const driver = await openOn(this.root, this.#options)
    this.#opened.push(driver)
    return driver
  }

  /** Cleans up the driver, and opens a new one on the same root. */
  async reopen(): Promise<void> {
    await this.driver.cleanup()
    this.driver = await this.another()
  }

  async close(): Promise<void> {
    for (const driver of this.#opened.toReversed()) await driver.cleanup()
  }

  async inView<T>(id: string, work: (fs: LayerFs, view: LayerView) => Promise<T>): Promise<T> {
    const view = await this.driver.get(id)
    try {
      return await work(view.fs, view)
    } finally {
      await this.driver.put(id)
    }
  }

  /** Creates a layer from its parent and these edits. Records them in its reference. */
  async layer(id: string, parent: string | undefined, edits: readonly Edit[] = []): Promise<void> {
    await this.driver.create(id, parent)
    await this.#edit(id, parent, edits)
  }

  /** Creates a container's writable layer in the same way. */
  async container(id: string, parent: string | undefined, edits: readonly Edit[] = []): Promise<void> {
    await this.driver.createReadWrite(id, parent)
    await this.#edit(id, parent, edits)
  }

  async edit(id: string, edits: readonly Edit[]): Promise<void> {
    await this.inView(id, (fs) => applyEdits(fs, edits))
    this.#references.set(id, [...(this.#references.get(id) ?? []), ...edits])
  }

  /** Creates a layer from a tar. */
  async layerOfTar(id: string, parent: string | undefined, entries: readonly TarEntry[]): Promise<number> {
    await this.driver.create(id, parent)
    return this.apply(id, parent, tarOf(entries))
  }

  apply(id: string, parent: string | undefined, tar: Uint8Array): Promise<number> {
    return this.driver.applyDiff(id, parent, chunksOf(tar))
  }

  async diff(id: string, parent?: string): Promise<Buffer> {
    return collect(this.driver.diff(id, parent))
  }

  async changes(id: string, parent?: string): Promise<string[]> {
    const changes: string[] = []
    for await (const { kind, path } of this.driver.changes(id, parent)) changes.push(`${kind} ${path}`)
    return changes
  }

  tree(id: string, options?: TreeOptions): Promise<Tree> {
    return this.inView(id, async (fs) => treeOf(fs.syncFs, options))
  }

  /** Returns the tree with every mtime that a tar carries, which is all but the root's. */
  fullTree(id: string): Promise<Tree> {
    return this.tree(id, { times: (path) => path !== '/' })
  }

  /** Checks that the layer looks as its edits make a plain tree look. Compares times only if an edit set them. */
  async mustMatchReference(id: string): Promise<void> {
    const syncFs = new MemoryFs()
    await applyEdits(layerFs(syncFs), this.#references.get(id) ?? [])
    const timed = new Set<string>()
    const expected = treeOf(syncFs, {
      times: (path, { mtimeNs }) => {
        if (mtimeNs !== 0n) timed.add(path)
        return mtimeNs !== 0n
      },
    })
    same(await this.tree(id, { times: (path) => timed.has(path) }), expected, `layer ${id}`)
  }

  async #edit(id: string, parent: string | undefined, edits: readonly Edit[]): Promise<void> {
    this.#references.set(id, (parent !== undefined && this.#references.get(parent)) || [])
    if (edits.length > 0) await this.edit(id, edits)
  }
}

/** Fails with the differences and the whole tree, if the trees differ. */
export function same(actual: Tree, expected: Tree, what: string): void {
  const difference = treesDiffer(actual, expected)
  if (difference !== undefined) assert.fail(`${what} is not as expected:\n${difference}`)
}

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const collected: Uint8Array[] = []
  for await (const chunk of chunks) collected.push(chunk)
  return Buffer.concat(collected)
}

function openOn(root: string, { factory, engine, driverOptions }: SubjectOptions): Promise<Driver> {
  return factory.open({ root, engine, readOnly: false, driverOptions })
}
