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

/** Options of {@link Container.commit}. */
export interface CommitContainerOptions extends OperationOptions {
  /** A reference for the new image, by default with the tag `latest`. @default none */
  readonly reference?: string | undefined
  /** The author in the image's config and history. @default that of the container's image, none in the history */
  readonly author?: string | undefined
  /** The comment of the image's history entry. @default none */
  readonly message?: string | undefined
  /**
   * Edits of the config in Dockerfile syntax: `CMD ["/bin/sh"]`, `ENV A=b` … Allowed are CMD, ENTRYPOINT, ENV, EXPOSE,
   * LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.
   * @default none
   */
  readonly config?: readonly string[] | undefined
  /** Removes the container and turns its writable layer into the image layer, without a copy. @default false */
  readonly consume?: boolean | undefined
}

/** A container as `store.containers()` lists it, whether it is mounted or not. */
export interface ContainerInfo {
  /** 64 hex digits. */
  readonly id: string
  /** The name, unique in the store. */
  readonly name: string
  /** The image that it is based on. */
  readonly image: ImageID
  /** When the container was made. */
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
 *
 * @example
 * ```ts
 * const container = await store.createContainer('team/app:1')
 * await container.fs.writeFile('/etc/motd', 'hello\n')
 * const image = await container.commit({ reference: 'team/app:2' })
 * console.log(image.layers.length)
 * await container.remove()
 * ```
 */
export class Container implements ContainerInfo, AsyncDisposable {
  /** 64 hex digits. */
  readonly id: string
  /** The name, unique in the store. */
  readonly name: string
  /** The image that it is based on. */
  readonly image: ImageID
  /** When the container was made. */
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
   *
   * @example
   * ```ts
   * if (store.driver.capabilities.hostPath) console.log(await container.mount())
   * ```
   */
  async mount(): Promise<string> {
    this.#opened ??= await this.#home.layers.writables.view(this.id)
    const { hostPath } = this.#opened.view
    if (hostPath !== undefined) return hostPath
    throw new StoreError('HOST_PATH_UNAVAILABLE', `container ${this.name} has no path on the host`, {
      hint: "use container.fs, or a store with engine: 'kernel'",
    })
  }

  /** Releases the view, and the mount if it has one. May be called twice. `mount` opens the view again. */
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

  /**
   * Yields the differences from the image, sorted by path. A directory with a changed child is listed as well. Rejects
   * with `CONTAINER_NOT_FOUND` if the container was removed.
   */
  changes(options?: OperationOptions): AsyncIterable<Change> {
    return this.#home.layers.writables.changes(this.id, options)
  }

  /**
   * Returns the writable layer as a tar, as a commit would add it. Times are clamped to `SOURCE_DATE_EPOCH` if it is
   * set. Errors are emitted on the stream.
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
   * as in `diff`. Throws `CONTAINER_UNMOUNTED` after `unmount`. Other errors are emitted on the stream.
   */
  export({ signal }: OperationOptions = {}): Readable {
    return Readable.from(exportOf(this.fs.syncFs, { signal, clampMtimeNs: sourceDateNs() }), {
      objectMode: false,
    })
  }

  /**
   * Makes an image of the container: the layers of its image and the writable layer on top. The container stays, unless
   * `consume`.
   *
   * With `consume`, the container is first unmounted. If the commit fails or the process is killed, either the
   * container or the image exists afterwards.
   *
   * Rejects with `CHANGE_INVALID` for an edit in `config`, with `REFERENCE_INVALID`, with `REFERENCE_CONFLICT` for a
   * digest that names another image, with `CONTAINER_NOT_FOUND` if the container was removed, and with
   * `CONTAINER_IN_USE` if another commit consumes it. With `consume`, also while another process has it open.
   *
   * @example
   * ```ts
   * await container.commit({ reference: 'team/app:2', config: ['CMD ["/bin/app"]'] })
   * ```
   */
  async commit(options: CommitContainerOptions = {}): Promise<Image> {
    if (options.consume === true) await this.unmount()
    return this.#home.commit(this.#record, options)
  }

  /** Returns the total bytes of regular files that were added or changed. */
  size(options?: OperationOptions): Promise<number> {
    return this.#home.layers.writables.size(this.id, options)
  }

  /**
   * Unmounts and removes the container and everything written in it. A no-op if it was removed. Rejects with
   * `CONTAINER_IN_USE` while another process has it open or commits it.
   */
  async remove(): Promise<void> {
    await this.unmount()
    await this.#home.remove(this.#record)
  }

  /** Unmounts the container and keeps it, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount()
  }
}

export function infoOf({ id, name, image, created }: ContainerRecord): ContainerInfo {
  return { id, name, image, created: new Date(created) }
}
