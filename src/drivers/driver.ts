import type { Readable } from 'node:stream'
import type { LayerFs } from '../fs/facade/layer-fs.js'
import type { OperationOptions } from '../operation-options.js'
import type { ApplyTarget } from '../tar/apply.js'
import type { DiffSource, OpenTrees } from '../tar/diff.js'

/**
 * THE contract between the store and a storage driver. It mirrors Docker's `ProtoDriver` and `DiffDriver`.
 *
 * A driver keeps layers. A **layer** is known to it by an id of the store's choosing (for a read-only layer its
 * cache-id, for a container its mount-id) and by its parent's id, and by nothing else: a driver knows no digests, no
 * images, no tags. The life of a layer:
 *
 *     create(id, parent) ──► applyDiff(id, parent, tar) ──► get(id) … put(id) ──► remove(id)     a read-only layer
 *     createReadWrite(id, parent) ──► get(id) … writes … put(id) ──► remove(id)                  a container's
 *
 * Between `create` and the first child of a layer its content may be changed, by `applyDiff` or through a view. From
 * then on nobody writes to it, and a driver may rely on that: the child sees what the parent held.
 *
 * A **view** is the merged filesystem of a layer: all of its ancestors, and itself on top. `get` and `put` are counted;
 * the first `get` may mount, the last `put` undoes it. A view stays usable until the `put` that belongs to its `get`.
 *
 * What a resolved call did is seen by every later call, and by other processes that open the same root. A call that
 * rejects leaves the layer as if it had not been made, or, for `create`, no layer at all. After a crash at any moment
 * each layer either exists whole or does not exist; `remove` of a half-made one succeeds.
 *
 * The store never runs two calls on one id at once, but for `get` and `put`. Calls on different ids run at once.
 *
 * @example A chain of two layers and a container:
 * ```ts
 * await driver.create('base')
 * await driver.applyDiff('base', undefined, baseTar)
 * await driver.create('app', 'base')
 * await driver.applyDiff('app', 'base', appTar)
 * await driver.createReadWrite('container', 'app')
 * const view = await driver.get('container')
 * await view.fs.writeFile('/etc/motd', 'hello\n')
 * await driver.put('container')
 * for await (const change of driver.changes('container', 'app')) console.log(change.kind, change.path)
 * ```
 */
export interface Driver extends ProtoDriver {
  /**
   * The tar that turns `parent`'s tree (an empty one without a parent) into this layer's. Same tree, same bytes.
   * Errors reach the stream's reader.
   */
  diff(id: string, parent?: string, options?: DiffOptions): Readable
  /** What differs from `parent`, sorted by path; a changed child puts its directory on the list. */
  changes(id: string, parent?: string, options?: OperationOptions): AsyncIterable<Change>
  /**
   * Applies a layer's uncompressed tar on top of what the layer holds. Content is durable when this resolves.
   * @returns bytes of the regular files that the tar brought
   */
  applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Uint8Array>,
    options?: OperationOptions,
  ): Promise<number>
  /** Bytes of the regular files that `diff` would bring. */
  diffSize(id: string, parent?: string, options?: OperationOptions): Promise<number>

  /**
   * Optional fast paths. The store asks for them by presence, and does without them if they are absent.
   */

  /** Where and how a tar is applied to the layer, as data: lets the store unpack in a worker thread. */
  applyTarget?(id: string, parent?: string): Promise<ApplyTarget>
  /** What to compare for a diff, as data: lets the store read a commit in a worker thread. */
  diffSource?(id: string, parent?: string): Promise<DiffSource>
  /**
   * What to compare for a diff, open until it is closed: lets the store read a commit on its own thread without a tar in
   * between. The layers are not written to meanwhile.
   */
  diffTrees?(id: string, parent?: string): Promise<DiffTrees>
  /**
   * The read-only layer's own files, for reading back by path what its tar brought, as data; cheaper than a view.
   * Paths that the tar did not bring may be there or not.
   */
  contents?(id: string): Promise<ApplyTarget['files']>
  /**
   * Ends what is left of earlier uses of the writable layer, such as a mount that a program was still writing to.
   * `LAYER_IN_USE` while a process holds the layer, and while a program has a file in its mount open for writing. For a
   * caller that keeps others from getting the layer, reads it, and adopts or removes it then: nothing is written meanwhile.
   */
  quiesce?(id: string): Promise<void>
  /**
   * Makes the writable layer `id` the read-only layer `newId` of the same parent, without copying it. Afterwards `id`
   * does not exist. `LAYER_IN_USE` where `quiesce` rejects with it, and for a layer that is not `adoptable`.
   */
  adopt?(id: string, newId: string): Promise<void>
  /**
   * Clears what processes that have ended left: mounts of layers that no living process holds, layers under removal,
   * temporary names, holds. A mount that a program still writes to stays. Costs a listing of the driver's own directories.
   * A driver does it when it is opened, too.
   */
  tidy?(): Promise<void>
  /**
   * Ids of all layers on disk, with those whose creation or removal a crash cut short, which `list` leaves out. Costs a
   * listing of a directory. `remove` clears a layer of either kind.
   */
  idsOnDisk?(): Promise<string[]>
  /**
   * Whether `adopt` can take the layer once its views are put. False for a layer that was given out as a directory of the
   * host, which no unmount takes back: it must be copied. Absent, `adopt` can take every layer.
   */
  adoptable?(id: string): Promise<boolean>
  /**
   * Exchanges two read-only layers of the same parent: each gets the other's files. Layers above `id` stay, and see what
   * `newId` held. `id` may be damaged or half gone. For drivers whose layers read their parents where they lie; without
   * it a layer is replaced by one with another id.
   */
  replace?(id: string, newId: string): Promise<void>
  /**
   * Writes what the driver keeps beside a layer's content again, for a layer whose bookkeeping is damaged. The content and
   * the layers above stay. `LAYER_NOT_FOUND` where there is no content.
   */
  mend?(id: string, parent?: string): Promise<void>
  /** What is damaged in the driver's own files, beside what shows in layers when they are read; reads all of them. */
  check?(options?: OperationOptions): Promise<Damage[]>
}

export interface DiffOptions extends OperationOptions {
  /** Later modification times become this one in the tar. @default times stay */
  readonly clampMtimeNs?: bigint | undefined
}

export interface DiffTrees {
  readonly trees: DiffSource | OpenTrees
  close(): Promise<void>
}

export interface Damage {
  /** The file, and the layer in which it was met, if it is in one. */
  readonly path: string
  readonly layer?: string | undefined
  readonly detail: string
}

/** The part that every driver author writes. `naiveDiff(proto)` makes a whole `Driver` of it. */
export interface ProtoDriver {
  /** As in Docker: `overlay2`, `vfs`, …; names the driver's directory and its directory under `image/`. */
  readonly name: string
  readonly engine: Engine
  readonly capabilities: DriverCapabilities

  /** Makes a layer that will be read-only, with `parent`'s content. A parent that is not there is `LAYER_NOT_FOUND`. */
  create(id: string, parent?: string, options?: CreateOptions): Promise<void>
  /** Makes a container's layer. */
  createReadWrite(id: string, parent?: string, options?: ReadWriteOptions): Promise<void>
  get(id: string, options?: GetOptions): Promise<LayerView>
  /**
   * Gives a `get` back. Harmless when there is nothing to give back. A mount ends with the last `put`, together with what
   * is mounted below it; while a program has a file in it open for writing, it stays until the next `get`, `remove` or
   * `tidy`.
   */
  put(id: string): Promise<void>
  /**
   * Harmless for an id that is not there; `LAYER_IN_USE` while a view is held, or while something is mounted below the
   * layer that cannot be unmounted. What is mounted there is unmounted, never entered. Resolving means that the layer is
   * gone; files that the system refuses to remove are told by `check` and tried again at each open.
   */
  remove(id: string): Promise<void>
  exists(id: string): Promise<boolean>
  /** Ids of all layers that are there, in no order. */
  list(): Promise<string[]>
  /** The rows that `docker info` shows under the driver's name. */
  status(): Promise<[key: string, value: string][]>
  /** What `docker inspect` shows as `GraphDriver.Data`. */
  metadata(id: string): Promise<Record<string, string>>
  /** Gives back all that `get` took, at the end of the driver's use. May be called twice. */
  cleanup(): Promise<void>
}

/** `kernel`: mounts and ioctls. `userspace`: TypeScript alone, no privilege. */
export type Engine = 'kernel' | 'userspace'

/** What a driver can do, as data: tests and callers ask this, never a name. */
export interface DriverCapabilities {
  /** A view has a host path that other programs can use. */
  readonly hostPath: boolean
  /** Time and space of a new layer do not grow with its parent. */
  readonly cheapSnapshots: boolean
  /** Unchanged parts of a changed file are shared below the file. */
  readonly sharesBlocks: boolean
  /** `diff` costs what changed, not what is there. */
  readonly nativeDiff: boolean
  /** A size limit can be set on a writable layer (`storageOptions.size`). */
  readonly quota: boolean
  /** The most layers that one chain may have. */
  readonly maxDepth: number
  /** Owners, devices and modes are in the inodes, as the kernel sees them; otherwise kept aside (`AttributeMode`). */
  readonly nativeAttributes: boolean
}

export interface CreateOptions {
  /** As `docker run --storage-opt`; an option that a driver does not know is `ENGINE_UNSUPPORTED`. */
  readonly storageOptions?: Readonly<Record<string, string>>
}

export interface ReadWriteOptions extends CreateOptions {
  /**
   * A driver need not wait for the disk: for layers that are thrown away. After a power cut, but not when a process is
   * killed, the layer may be there in part; it can be removed.
   * @default false
   */
  readonly volatile?: boolean
}

export interface GetOptions {
  /**
   * Skip syncs on the writable layer: for layers that are thrown away. After a crash its content is undefined.
   * @default false
   */
  readonly volatile?: boolean
}

export interface LayerView {
  readonly fs: LayerFs
  /** Present when a kernel made the view: programs that know nothing of this library can use it. */
  readonly hostPath?: string
}

export interface Change {
  readonly kind: 'add' | 'modify' | 'delete'
  /** From the root, `/`-led. UTF-8; a name that is none is here with U+FFFD, and whole in `pathBytes`. */
  readonly path: string
  readonly pathBytes: Buffer
}
