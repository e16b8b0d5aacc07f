import { Readable } from 'node:stream'
import type { ImageID } from '../digest.js'
import type { Change } from '../drivers/driver.js'
import { exportOf } from '../drivers/tree-diff.js'
import { StoreError } from '../errors.js'
import type { LayerFs } from '../fs/facade/layer-fs.js'
import type { Image } from '../images/image.js'
import type { LayerStore } from '../layers/layer-store.js'
import type { WritableView } from '../layers/writable-layers.js'
import type { OperationOptions } from '../operation-options.js'
import { sourceDateNs } from '../source-date.js'
import type { ContainerRecord } from './container-store.js'

export interface CommitContainerOptions extends OperationOptions {
  /** Reference for the new image. */
  readonly reference?: string | undefined
  readonly author?: string | undefined
  readonly message?: string | undefined
  /** Edits of the config in Dockerfile syntax: `CMD ["/bin/sh"]`, `ENV A=b` … */
  readonly config?: readonly string[] | undefined
  /** Removes the container and turns its writable layer into the image layer, without a copy. @default false */
  readonly consume?: boolean | undefined
}

/** A container as `store.containers()` lists it, whether it is mounted or not. */
export interface ContainerInfo {
  /** 64 hex digits. */
  readonly id: string
  readonly name: string
  /** The image that it stands on. */
  readonly image: ImageID
  readonly created: Date
}

/** What a container requires of the store that created it. */
export interface ContainerHome {
  readonly layers: LayerStore
  commit(record: ContainerRecord, options: CommitContainerOptions): Promise<Image>
  remove(record: ContainerRecord): Promise<void>
}

/**
 * One copy-on-write layer on top of an image. Creating or opening a container mounts it. `unmount` releases the mount
 * and keeps the container. Writes are as durable as writes to host files: after `sync` of a handle, and after a commit.
 */
export class Container implements ContainerInfo, AsyncDisposable {
  readonly id: string
  readonly name: string
  /** The image that it is based on. */
  readonly image: ImageID
  readonly created: Date
  readonly #home: ContainerHome
  readonly #record: ContainerRecord
  #opened: WritableView | undefined

  private constructor(home: ContainerHome, record: ContainerRecord, opened: WritableView) {
    this.id = record.id
    this.name = record.name
    this.image = record.image
    this.created = new Date(record.created)
    this.#home = home
    this.#record = record
    this.#opened = opened
  }

  /** @internal */
  static async open(home: ContainerHome, record: ContainerRecord): Promise<Container> {
    return new Container(home, record, await home.layers.writables.view(record.id))
  }

  /** The container's filesystem. Throws `CONTAINER_UNMOUNTED` after `unmount`. */
  get fs(): LayerFs {
    if (this.#opened !== undefined) return this.#opened.view.fs
    throw new StoreError('CONTAINER_UNMOUNTED', `container ${this.name} is not mounted`, {
      hint: 'call mount(), or open it again with store.openContainer()',
    })
  }

  /**
   * Returns the container's path on the host: a mount that any program can use, until `unmount`. Mounts again after
   * `unmount`. Rejects with `HOST_PATH_UNAVAILABLE` if the driver's views have no host path.
   */
  async mount(): Promise<string> {
    this.#opened ??= await this.#home.layers.writables.view(this.id)
    const { hostPath } = this.#opened.view
    if (hostPath !== undefined) return hostPath
    throw new StoreError('HOST_PATH_UNAVAILABLE', `container ${this.name} has no path on the host`, {
      hint: "use container.fs, or a store with engine: 'kernel'",
    })
  }

  /** Releases the view, and the mount if it has one. Idempotent; `mount` reopens the view. */
  async unmount(): Promise<void> {
    const opened = this.#opened
    this.#opened = undefined
    try {
      await opened?.release()
    } catch (error) {
      this.#opened = opened
      throw error
    }
  }

  /** Lists the differences from the image. */
  changes(options?: OperationOptions): AsyncIterable<Change> {
    return this.#home.layers.writables.changes(this.id, options)
  }

  /**
   * Returns the writable layer as a tar, as a commit would add it. Times are clamped to `SOURCE_DATE_EPOCH` if it is
   * set.
   */
  diff(options?: OperationOptions): Readable {
    const { layers } = this.#home
    const { id } = this
    return Readable.from(
      (async function* () {
        yield* await layers.writables.diff(id, options)
      })(),
      { objectMode: false },
    )
  }

  /**
   * Returns the whole filesystem as a tar, like `docker export`, without anything mounted inside it. Times are clamped
   * as in `diff`.
   */
  export({ signal }: OperationOptions = {}): Readable {
    return Readable.from(exportOf(this.fs.syncFs, { signal, clampMtimeNs: sourceDateNs() }), {
      objectMode: false,
    })
  }

  /** Creates an image from the container. */
  async commit(options: CommitContainerOptions = {}): Promise<Image> {
    if (options.consume === true) await this.unmount()
    return this.#home.commit(this.#record, options)
  }

  /** Returns the total bytes of regular files that were added or changed. */
  size(options?: OperationOptions): Promise<number> {
    return this.#home.layers.writables.size(this.id, options)
  }

  /** Removes the container and everything written in it. */
  async remove(): Promise<void> {
    await this.unmount()
    await this.#home.remove(this.#record)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount()
  }
}

export function infoOf({ id, name, image, created }: ContainerRecord): ContainerInfo {
  return { id, name, image, created: new Date(created) }
}
