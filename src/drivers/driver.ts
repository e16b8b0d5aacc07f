import type { Readable } from 'node:stream'
import type { LayerFs } from '../fs/facade/layer-fs.js'
import type { OperationOptions } from '../operation-options.js'
import type { ApplyTarget } from '../tar/apply.js'
import type { DiffSource, OpenTrees } from '../tar/diff.js'

/**
 * The contract between the store and a storage driver. It mirrors Docker's `ProtoDriver` and `DiffDriver`.
 *
 * A driver keeps layers. It knows a **layer** by its id and its parent's id only: no digests, no images, no tags. The
 * store chooses the id: the cache-id of a read-only layer, the mount-id of a container's layer. The life of a layer:
 *
 *     create(id, parent) ──► applyDiff(id, parent, tar) ──► get(id) … put(id) ──► remove(id)     a read-only layer
 *     createReadWrite(id, parent) ──► get(id) … writes … put(id) ──► remove(id)                  a container's layer
 *
 * From `create` until its first child is created, a layer may change, through `applyDiff` or a view. After that, the
 * layer is immutable. Drivers may rely on this: a child keeps seeing what its parent held.
 *
 * A **view** is the merged filesystem of a layer: the layer on top of all its ancestors. `get` and `put` are counted:
 * the first `get` may mount, and the last `put` unmounts. A view stays usable until the `put` that matches its `get`.
 *
 * The effects of a resolved call are visible to every later call and to other processes that open the same root. A
 * rejected call leaves the layer unchanged; a rejected `create` leaves no layer. After a crash at any moment, each
 * layer either exists whole or does not exist. `remove` succeeds for a half-made layer.
 *
 * The store never runs two calls on the same id concurrently, except `get` and `put`. Calls on different ids run
 * concurrently.
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
   * Returns the tar that turns `parent`'s tree into this layer's. Without a parent, the tar holds the whole tree. The
   * same trees give the same bytes. Errors are emitted on the returned stream.
   */
  diff(id: string, parent?: string, options?: DiffOptions): Readable
  /**
   * Yields the differences from `parent`, sorted by path. Without a parent, everything is added. A directory with a
   * changed child is listed as well.
   */
  changes(id: string, parent?: string, options?: OperationOptions): AsyncIterable<Change>
  /**
   * Applies a layer's uncompressed tar on top of the layer's current content. The content is durable when this
   * resolves.
   * @returns the total size in bytes of the regular files in the tar
   */
  applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Uint8Array>,
    options?: OperationOptions,
  ): Promise<number>
  /** Returns the total size in bytes of the regular files that `diff` would contain. */
  diffSize(id: string, parent?: string, options?: OperationOptions): Promise<number>

  /** Optional fast paths. The store checks whether each method exists and falls back if it is absent. */

  /** Returns where and how to apply a tar to the layer, as plain data. Lets the store unpack in a worker thread. */
  applyTarget?(id: string, parent?: string): Promise<ApplyTarget>
  /** Returns what to compare for a diff, as plain data. Lets the store read a commit in a worker thread. */
  diffSource?(id: string, parent?: string): Promise<DiffSource>
  /**
   * Opens what to compare for a diff; the caller closes it. Lets the store read a commit on its own thread without
   * building a tar. The layers are not written to while it is open.
   */
  diffTrees?(id: string, parent?: string): Promise<DiffTrees>
  /**
   * Returns the read-only layer's own files, as plain data, to read back by path what its tar contained. Cheaper than a
   * view. Paths that the tar did not contain may or may not exist.
   */
  contents?(id: string): Promise<ApplyTarget['files']>
  /**
   * Ends what earlier uses of the writable layer left, such as a mount that a program was still writing to. Rejects
   * with `LAYER_IN_USE` while a process holds the layer, or while a program has a file in its mount open for writing.
   *
   * For callers that block new views of the layer, read it, and then adopt or remove it. Nothing writes to the layer
   * from this call on.
   */
  quiesce?(id: string): Promise<void>
  /**
   * Makes the writable layer `id` the read-only layer `newId` of the same parent, without copying it. Afterwards `id`
   * does not exist. Rejects with `LAYER_IN_USE` if `quiesce` would, or if the layer is not `adoptable`.
   */
  adopt?(id: string, newId: string): Promise<void>
  /**
   * Clears what ended processes left: mounts of layers that no living process holds, layers under removal, temporary
   * names, and holds. A mount that a program still writes to stays. Costs a listing of the driver's own directories.
   * Drivers also do this when they are opened.
   */
  tidy?(): Promise<void>
  /**
   * Returns the ids of all layers on disk. Unlike `list`, includes layers whose creation or removal was cut short by a
   * crash. `remove` clears either kind. Costs a directory listing.
   */
  idsOnDisk?(): Promise<string[]>
  /**
   * Reports whether `adopt` can take the layer once its views are put. False for a layer that was handed out as a host
   * directory, which no unmount takes back: such a layer must be copied. If absent, `adopt` can take every layer.
   */
  adoptable?(id: string): Promise<boolean>
  /**
   * Exchanges two read-only layers of the same parent: each gets the other's files. Layers above `id` stay, and see
   * what `newId` held. `id` may be damaged or incomplete.
   *
   * For drivers whose layers read their parents in place. Without this method, a layer is replaced by a layer with
   * another id.
   */
  replace?(id: string, newId: string): Promise<void>
  /**
   * Rewrites what the driver keeps beside a layer's content, for a layer whose bookkeeping is damaged. The content and
   * the layers above stay. Rejects with `LAYER_NOT_FOUND` if the content does not exist.
   */
  mend?(id: string, parent?: string): Promise<void>
  /** Reports damage in the driver's own files that reading the layers does not show. Reads all of those files. */
  check?(options?: OperationOptions): Promise<Damage[]>
}

/** Options of {@link Driver.diff}. */
export interface DiffOptions extends OperationOptions {
  /**
   * The latest modification time in the tar, in ns since the epoch; later times become this one.
   * @default times are unchanged
   */
  readonly clampMtimeNs?: bigint | undefined
}

/** Trees to compare for a diff; see {@link Driver.diffTrees}. */
export interface DiffTrees {
  /** What to compare, as plain data or as open trees. */
  readonly trees: DiffSource | OpenTrees
  /** Releases the trees. */
  close(): Promise<void>
}

/** Damage in a driver's own files; see {@link Driver.check}. */
export interface Damage {
  /** The damaged file. */
  readonly path: string
  /** The layer in which it was found, if any. */
  readonly layer?: string | undefined
  /** What is wrong, as a clause without a full stop. */
  readonly detail: string
}

/** The part that every driver author writes. `naiveDiff(proto)` turns it into a full `Driver`. */
export interface ProtoDriver {
  /**
   * Docker's name for the driver: `overlay2`, `vfs`, …. Names the driver's directory and its directory under `image/`.
   */
  readonly name: string
  /** The engine that this driver was opened with. */
  readonly engine: Engine
  /** What this driver can do. */
  readonly capabilities: DriverCapabilities

  /**
   * Creates a layer with `parent`'s content, to become read-only. Rejects with `NAME_CONFLICT` if the id exists, and with
   * `LAYER_NOT_FOUND` if the parent does not exist.
   */
  create(id: string, parent?: string, options?: CreateOptions): Promise<void>
  /** Creates a container's writable layer with `parent`'s content. Rejects as `create` does. */
  createReadWrite(id: string, parent?: string, options?: ReadWriteOptions): Promise<void>
  /**
   * Opens the layer's view, or returns the view that is already open. Each `get` needs a `put`. Rejects with
   * `LAYER_NOT_FOUND` if the layer does not exist.
   */
  get(id: string, options?: GetOptions): Promise<LayerView>
  /**
   * Releases one `get`. A no-op if the layer has no open view. The last `put` ends the mount and everything mounted
   * below it. While a program has a file in the mount open for writing, the mount stays until the next `get`, `remove`
   * or `tidy`.
   */
  put(id: string): Promise<void>
  /**
   * Removes the layer. A no-op if it does not exist. Anything mounted below the layer is unmounted, never entered.
   * Rejects with `LAYER_IN_USE` while a view is held, or if something mounted below the layer cannot be unmounted.
   *
   * When this resolves, the layer no longer exists. `check` reports files that the system refuses to remove; each open
   * retries them.
   */
  remove(id: string): Promise<void>
  /** Returns whether the layer exists. A layer whose creation or removal was cut short does not. */
  exists(id: string): Promise<boolean>
  /** Returns the ids of all existing layers, in no particular order. */
  list(): Promise<string[]>
  /** Returns the rows that `docker info` shows under the driver's name. */
  status(): Promise<[key: string, value: string][]>
  /**
   * Returns what `docker inspect` shows as `GraphDriver.Data`. Rejects with `LAYER_NOT_FOUND` if the layer does not
   * exist.
   */
  metadata(id: string): Promise<Record<string, string>>
  /** Releases everything that `get` took, when the driver is no longer needed. May be called twice. */
  cleanup(): Promise<void>
}

/** A driver as callers of a store see it. */
export type DriverInfo = Pick<ProtoDriver, 'name' | 'engine' | 'capabilities'>

/** `kernel`: mounts and ioctls. `userspace`: TypeScript only, no privileges. */
export type Engine = 'kernel' | 'userspace'

/** What a driver can do, as data. Tests and callers check these fields, never the driver's name. */
export interface DriverCapabilities {
  /** Views have a host path that other programs can use. */
  readonly hostPath: boolean
  /** The time and space that a new layer takes do not grow with its parent. */
  readonly cheapSnapshots: boolean
  /** A changed file shares its unchanged blocks with the original. */
  readonly sharesBlocks: boolean
  /** `diff` costs time in proportion to the changes, not to the whole tree. */
  readonly nativeDiff: boolean
  /** Writable layers accept a size limit (`storageOptions.size`). */
  readonly quota: boolean
  /** The maximum number of layers in one chain. */
  readonly maxDepth: number
  /**
   * Owners, devices and modes are stored in the inodes, visible to the kernel. Otherwise they are stored separately,
   * see `AttributeMode`.
   */
  readonly nativeAttributes: boolean
}

/** Options of {@link ProtoDriver.create}. */
export interface CreateOptions {
  /**
   * As in `docker run --storage-opt`. Rejects with `ENGINE_UNSUPPORTED` for an option that the driver does not know.
   * @default none
   */
  readonly storageOptions?: Readonly<Record<string, string>>
}

/** Options of {@link ProtoDriver.createReadWrite}. */
export interface ReadWriteOptions extends CreateOptions {
  /**
   * Lets the driver skip waiting for the disk, for disposable layers. After a power cut, the layer may be incomplete,
   * but it can be removed. Killing the process does not have this effect.
   * @default false
   */
  readonly volatile?: boolean
}

/** Options of {@link ProtoDriver.get}. */
export interface GetOptions {
  /**
   * Skips syncs on the writable layer, for disposable layers. After a crash, its content is undefined.
   * @default false
   */
  readonly volatile?: boolean
}

/** The merged filesystem of a layer. Usable until the `put` that matches its `get`. */
export interface LayerView {
  /** Reads and writes the view. */
  readonly fs: LayerFs
  /** Set if the kernel provides the view. Programs that know nothing of this library can use this path. */
  readonly hostPath?: string
}

/** A difference between a layer and its parent. */
export interface Change {
  /** What turns the parent into this layer. `modify` if the parent has an object at this path. */
  readonly kind: 'add' | 'modify' | 'delete'
  /**
   * Absolute within the layer: starts with `/`. Decoded as UTF-8; invalid bytes become U+FFFD. `pathBytes` is exact.
   */
  readonly path: string
  /** The bytes of the path. */
  readonly pathBytes: Buffer
}
