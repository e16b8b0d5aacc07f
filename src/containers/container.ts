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
  /** A name for the new image. */
  readonly reference?: string | undefined
  readonly author?: string | undefined
  readonly message?: string | undefined
  /** Edits of the config as in a Dockerfile: `CMD ["/bin/sh"]`, `ENV A=b` … */
  readonly changes?: readonly string[] | undefined
  /** The container is given up, and its writable layer becomes the layer, without a copy. @default false */
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

/** What a container asks of the store that made it. */
export interface ContainerHome {
  readonly layers: LayerStore
  commit(record: ContainerRecord, options: CommitContainerOptions): Promise<Image>
  remove(record: ContainerRecord): Promise<void>
}

/**
 * One copy-on-write layer over an image. It is mounted when it is created or opened; `unmount` gives back what that took,
 * and the container stays. What was written is durable as files of the host are: after `sync` of a handle, and after a
 * commit.
 */
export class Container implements ContainerInfo, AsyncDisposable {
  readonly id: string
  readonly name: string
  /** The image that it stands on. */
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

  static async open(home: ContainerHome, record: ContainerRecord): Promise<Container> {
    return new Container(home, record, await home.layers.writables.view(record.id))
  }

  /** The container's filesystem. Throws `CONTAINER_UNMOUNTED` after `unmount`. */
  get fs(): LayerFs {
    if (this.#opened !== undefined) return this.#opened.view.fs
    throw new StoreError('CONTAINER_UNMOUNTED', `container ${this.name} is not mounted`, {
      hint: 'mount() it, or open it again with store.openContainer()',
    })
  }

  /**
   * Where the container's filesystem is on the host: a mount that any program can use, until `unmount`. Mounts again
   * what was unmounted. Drivers whose views have no path on the host reject with `HOST_PATH_UNAVAILABLE`.
   */
  async mount(): Promise<string> {
    this.#opened ??= await this.#home.layers.writables.view(this.id)
    const { hostPath } = this.#opened.view
    if (hostPath !== undefined) return hostPath
    throw new StoreError('HOST_PATH_UNAVAILABLE', 'this container has no path on the host', {
      hint: "use container.fs, or a store with engine: 'kernel'",
    })
  }

  /** Gives back the view, and the mount if there is one. May be called twice; `mount` takes it again. */
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

  /** What differs from the image. */
  changes(options?: OperationOptions): AsyncIterable<Change> {
    return this.#home.layers.writables.changes(this.id, options)
  }

  /** The writable layer as a tar: what a commit would add, with times clamped to `SOURCE_DATE_EPOCH` where it is set. */
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

  /** The whole filesystem as a tar, as `docker export` gives it, without what is mounted in it. Times are clamped as in `diff`. */
  export({ signal }: OperationOptions = {}): Readable {
    return Readable.from(exportOf(this.fs.syncFs, { signal, clampMtimeNs: sourceDateNs() }), {
      objectMode: false,
    })
  }

  /** Makes an image of the container. */
  async commit(options: CommitContainerOptions = {}): Promise<Image> {
    if (options.consume === true) await this.unmount()
    return this.#home.commit(this.#record, options)
  }

  /** Bytes of the regular files that were added or changed. */
  size(options?: OperationOptions): Promise<number> {
    return this.#home.layers.writables.size(this.id, options)
  }

  /** Removes the container and what was written in it. */
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
