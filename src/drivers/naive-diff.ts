import { Readable } from 'node:stream'
import { unpackHere } from '../jobs/run/here.js'
import type { JobOptions } from '../jobs/work/pace.js'
import { runJob } from '../jobs/run/run-job.js'
import type { OperationOptions } from '../operation-options.js'
import type { ProgressEvent } from '../progress.js'
import type {
  Change,
  CreateOptions,
  DiffOptions,
  DiffTrees,
  Driver,
  DriverCapabilities,
  Engine,
  GetOptions,
  LayerView,
  ProtoDriver,
  ReadWriteOptions,
} from './driver.js'
import { changesOf, sizeOf, tarOf, wholeTrees } from './tree-diff.js'

/** A driver's optional fast paths. */
export type FastPaths = Pick<
  Driver,
  | 'applyTarget'
  | 'diffSource'
  | 'contents'
  | 'quiesce'
  | 'adopt'
  | 'adoptable'
  | 'replace'
  | 'mend'
  | 'tidy'
  | 'idsOnDisk'
  | 'check'
>

/**
 * Makes a full driver from the part that every driver author writes, as Docker's NaiveDiffDriver does. Diffs come from
 * comparing two views, and a tar is applied through a view. If the driver has `diffSource` or `applyTarget`, they are
 * used instead of views. The driver's other fast paths are passed on.
 *
 * @example
 * ```ts
 * import { naiveDiff, type Driver, type ProtoDriver } from 'layerstack/drivers'
 *
 * function complete(proto: ProtoDriver): Driver {
 *   return naiveDiff(proto)
 * }
 * ```
 */
export function naiveDiff(proto: ProtoDriver & FastPaths): Driver {
  return new NaiveDiffDriver(proto)
}

class NaiveDiffDriver implements Driver {
  readonly #proto: ProtoDriver & FastPaths
  readonly applyTarget?: NonNullable<Driver['applyTarget']>
  readonly diffSource?: NonNullable<Driver['diffSource']>
  readonly contents?: NonNullable<Driver['contents']>
  readonly quiesce?: NonNullable<Driver['quiesce']>
  readonly adopt?: NonNullable<Driver['adopt']>
  readonly tidy?: NonNullable<Driver['tidy']>
  readonly idsOnDisk?: NonNullable<Driver['idsOnDisk']>
  readonly adoptable?: NonNullable<Driver['adoptable']>
  readonly replace?: NonNullable<Driver['replace']>
  readonly mend?: NonNullable<Driver['mend']>
  readonly check?: NonNullable<Driver['check']>

  constructor(proto: ProtoDriver & FastPaths) {
    this.#proto = proto
    if (proto.applyTarget !== undefined) this.applyTarget = proto.applyTarget.bind(proto)
    if (proto.diffSource !== undefined) this.diffSource = proto.diffSource.bind(proto)
    if (proto.contents !== undefined) this.contents = proto.contents.bind(proto)
    if (proto.quiesce !== undefined) this.quiesce = proto.quiesce.bind(proto)
    if (proto.adopt !== undefined) this.adopt = proto.adopt.bind(proto)
    if (proto.tidy !== undefined) this.tidy = proto.tidy.bind(proto)
    if (proto.idsOnDisk !== undefined) this.idsOnDisk = proto.idsOnDisk.bind(proto)
    if (proto.adoptable !== undefined) this.adoptable = proto.adoptable.bind(proto)
    if (proto.replace !== undefined) this.replace = proto.replace.bind(proto)
    if (proto.mend !== undefined) this.mend = proto.mend.bind(proto)
    if (proto.check !== undefined) this.check = proto.check.bind(proto)
  }

  diff(id: string, parent?: string, options?: DiffOptions): Readable {
    return Readable.from(this.#tar(id, parent, options), { objectMode: false })
  }

  async *changes(
    id: string,
    parent?: string,
    options?: OperationOptions,
  ): AsyncGenerator<Change, void, void> {
    const { trees, close } = await this.diffTrees(id, parent)
    try {
      yield* changesOf(trees, { signal: options?.signal })
    } finally {
      await close()
    }
  }

  async applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Uint8Array>,
    options?: OperationOptions,
  ): Promise<number> {
    const source = { chunks: tar }
    const progress = jobOptions(options, (done) => ({ type: 'layer:unpack', id, done }))
    const target = await this.#proto.applyTarget?.(id, parent)
    if (target !== undefined) return (await runJob({ kind: 'unpack', source, target }, progress)).size
    const { fs } = await this.#proto.get(id)
    try {
      return (await unpackHere({ source, target: { syncFs: fs.syncFs } }, progress)).size
    } finally {
      await this.#proto.put(id)
    }
  }

  async diffSize(id: string, parent?: string, options?: OperationOptions): Promise<number> {
    const { trees, close } = await this.diffTrees(id, parent)
    try {
      return await sizeOf(trees, { signal: options?.signal })
    } finally {
      await close()
    }
  }

  async *#tar(
    id: string,
    parent: string | undefined,
    options: DiffOptions | undefined,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { trees, close } = await this.diffTrees(id, parent)
    try {
      const progress = jobOptions(options, (done) => ({ type: 'layer:commit', id, done }))
      yield* tarOf(trees, { ...progress, clampMtimeNs: options?.clampMtimeNs })
    } finally {
      await close()
    }
  }

  /** Returns the driver's `diffSource` if it has one, else two views that are held until `close`. */
  async diffTrees(id: string, parent?: string): Promise<DiffTrees> {
    const source = await this.#proto.diffSource?.(id, parent)
    if (source !== undefined) return { trees: source, close: async () => undefined }
    const upper = await this.#proto.get(id)
    try {
      const lower = parent === undefined ? undefined : await this.#proto.get(parent)
      const trees = wholeTrees(upper.fs.syncFs, lower?.fs.syncFs)
      return {
        trees,
        close: async () => {
          trees.close()
          if (parent !== undefined) await this.#proto.put(parent)
          await this.#proto.put(id)
        },
      }
    } catch (error) {
      await this.#proto.put(id)
      throw error
    }
  }

  get name(): string {
    return this.#proto.name
  }

  get engine(): Engine {
    return this.#proto.engine
  }

  get capabilities(): DriverCapabilities {
    return this.#proto.capabilities
  }

  create(id: string, parent?: string, options?: CreateOptions): Promise<void> {
    return this.#proto.create(id, parent, options)
  }

  createReadWrite(id: string, parent?: string, options?: ReadWriteOptions): Promise<void> {
    return this.#proto.createReadWrite(id, parent, options)
  }

  get(id: string, options?: GetOptions): Promise<LayerView> {
    return this.#proto.get(id, options)
  }

  put(id: string): Promise<void> {
    return this.#proto.put(id)
  }

  remove(id: string): Promise<void> {
    return this.#proto.remove(id)
  }

  exists(id: string): Promise<boolean> {
    return this.#proto.exists(id)
  }

  list(): Promise<string[]> {
    return this.#proto.list()
  }

  status(): Promise<[key: string, value: string][]> {
    return this.#proto.status()
  }

  metadata(id: string): Promise<Record<string, string>> {
    return this.#proto.metadata(id)
  }

  cleanup(): Promise<void> {
    return this.#proto.cleanup()
  }
}

function jobOptions(
  { signal, onProgress }: OperationOptions = {},
  event: (done: number) => ProgressEvent,
): JobOptions {
  return { signal, onProgress: onProgress && ((done) => onProgress(event(done))) }
}
