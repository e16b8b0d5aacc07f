import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { lstat, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import fse from 'fs-extra'
import { chainId, hexOf, isDigest, type ChainID, type DiffID } from '../digest.js'
import { namesIn } from '../durable/abandoned.js'
import { makeStoreDirectory } from '../durable/make-directory.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { syncDirectory } from '../durable/sync-directory.js'
import { isErrno, StoreError } from '../errors.js'
import { mapYielding } from '../event-loop.js'
import type { Layer, WritableLayer } from './layer.js'

const CACHE_ID = /^[a-f0-9]{64}(-init)?$/

export function isDriverId(text: string): boolean {
  return CACHE_ID.test(text)
}

const HEX = /^[a-f0-9]{64}$/
const REMOVING = /^[a-f0-9]{64}-.*-removing$/
const WRITABLE = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/
const WRITE_SET = 'write-set-'
const OWN_WRITE_SET = /^write-set-([a-f0-9]{64})$/
export const TAR_SPLIT = 'tar-split.json.gz'

/**
 * The records of all layers, as files in Docker's own layout, `image/<driver>/layerdb`:
 *
 *     sha256/<chain hex>/{diff,size,cache-id,parent,tar-split.json.gz}    a layer
 *     mounts/<name>/{mount-id,init-id,parent}                             a writable layer
 *     tmp/write-set-<driver's id>/                                        a layer that is being written
 *
 * 1. A layer's directory appears by one rename, after its files and the driver's are on disk.
 * 2. It disappears by one rename, to `<chain hex>-<random>-removing`, before any file in it is removed.
 * 3. So a directory under a chain's name is complete, unless a crash of dockerd (moby#44909) left less: `layer` reports it.
 * 4. The same holds for writable layers. Their removal renames them to the write set of their driver id.
 */
export class LayerDb {
  readonly directory: string
  readonly #layers: string
  readonly #mounts: string
  readonly #temporary: string
  readonly #parents = new Map<ChainID, ChainID | undefined>()

  constructor(directory: string) {
    this.directory = directory
    this.#layers = join(directory, 'sha256')
    this.#mounts = join(directory, 'mounts')
    this.#temporary = join(directory, 'tmp')
  }

  async make(): Promise<void> {
    for (const path of [this.#layers, this.#mounts, this.#temporary]) makeStoreDirectory(path, 0o700)
  }

  /** `undefined` if the layer does not exist. Rejects with `STORE_CORRUPT` if its files are damaged. */
  async layer(id: ChainID): Promise<Layer | undefined> {
    return this.#layer(id)
  }

  #layer(id: ChainID): Layer | undefined {
    return readWhole(this.#layerDirectory(id), (directory) => {
      const diffId = readText(join(directory, 'diff'))
      const cacheId = readText(join(directory, 'cache-id'))
      const parent = readText(join(directory, 'parent'))
      const size = readText(join(directory, 'size'))
      if (!isDigest(diffId) || cacheId === undefined || size === undefined) return undefined
      if ((parent !== undefined && !isDigest(parent)) || !CACHE_ID.test(cacheId) || !/^\d+$/.test(size))
        return undefined
      const layer = {
        diffId: diffId as DiffID,
        parent: parent as ChainID | undefined,
        size: Number(size),
        cacheId,
      }
      return chainId(layer.parent, layer.diffId) === id ? { chainId: id, ...layer } : undefined
    })
  }

  /** Rejects with `STORE_CORRUPT` if an entry is damaged. */
  async require(id: ChainID): Promise<Layer> {
    const layer = this.#layer(id)
    if (layer === undefined) throw layerNotFound(id)
    return layer
  }

  /** The driver's id of a layer. `undefined` without a layer. */
  async cacheIdOf(id: ChainID | undefined): Promise<string | undefined> {
    return id === undefined ? undefined : (await this.require(id)).cacheId
  }

  async layers(): Promise<Layer[]> {
    const layers = await mapYielding(await this.chainIds(), (id) => this.#layer(id))
    return layers.filter((layer) => layer !== undefined)
  }

  async chainIds(): Promise<ChainID[]> {
    const names = namesIn(this.#layers)
    return names.filter((name) => HEX.test(name)).map((hex) => `sha256:${hex}` as ChainID)
  }

  /** All layers except those with damaged entries. */
  async soundLayers(): Promise<Layer[]> {
    const layers: Layer[] = []
    for (const id of await this.chainIds()) {
      const layer = await this.layer(id).catch(() => undefined)
      if (layer !== undefined) layers.push(layer)
    }
    return layers
  }

  /** Whether the layer has a directory, damaged or not. */
  async has(id: ChainID): Promise<boolean> {
    return identity(this.#layerDirectory(id)) !== undefined
  }

  /** The content of `cache-id`, even if the rest of the entry is damaged. */
  writtenCacheId(id: ChainID): string | undefined {
    const text = readText(join(this.#layerDirectory(id), 'cache-id'))
    return text !== undefined && CACHE_ID.test(text) ? text : undefined
  }

  /** The content of `mount-id`, even if the rest of the entry is damaged. */
  writtenMountId(name: string): string | undefined {
    const text = readText(join(this.#mountDirectory(name), 'mount-id'))
    return text !== undefined && CACHE_ID.test(text) ? text : undefined
  }

  tarSplit(id: ChainID): string {
    return join(this.#layerDirectory(id), TAR_SPLIT)
  }

  /** Makes a directory for a layer's files before the layer is visible. The driver's id identifies it. */
  async writeSet(driverId: string): Promise<string> {
    const path = this.#writeSetDirectory(driverId)
    await fse.mkdirp(path, { mode: 0o755 })
    return path
  }

  /** Synchronous, because there are only a few files. A no-op if they are missing. */
  removeWriteSet(driverId: string): void {
    rmSync(this.#writeSetDirectory(driverId), { recursive: true, force: true })
  }

  /** Driver ids of this library's write sets. Those of dockerd have other names. */
  async writeSets(): Promise<string[]> {
    const names = namesIn(this.#temporary)
    return names.map((name) => OWN_WRITE_SET.exec(name)?.[1]).filter((id) => id !== undefined)
  }

  /**
   * Completes a write set that contains the layer's tar-split. When this resolves, it is on disk. Do not call it under the
   * lock, because it syncs.
   */
  async seal(writeSet: string, layer: Layer): Promise<void> {
    await writeFiles(writeSet, {
      diff: layer.diffId,
      size: String(layer.size),
      'cache-id': layer.cacheId,
      parent: layer.parent,
    })
  }

  /** Turns the sealed write set of the driver layer `driverId` into a layer. */
  async publish(driverId: string, id: ChainID): Promise<void> {
    renameSync(this.#writeSetDirectory(driverId), this.#layerDirectory(id))
    await syncDirectory(this.#layers)
  }

  /**
   * Rewrites the files of a layer's entry in place. `cache-id` comes last: until then, a crash leaves the entry damaged or
   * as it was.
   * @param tarSplit path of a file that replaces the entry's tar-split
   */
  async rewrite(layer: Layer, tarSplit?: string): Promise<void> {
    const directory = this.#layerDirectory(layer.chainId)
    const files = { diff: layer.diffId, size: String(layer.size), parent: layer.parent }
    if (tarSplit !== undefined) {
      await clear(join(directory, TAR_SPLIT))
      await rename(tarSplit, join(directory, TAR_SPLIT))
    }
    for (const [name, text] of Object.entries({ ...files, 'cache-id': layer.cacheId })) {
      await clear(join(directory, name), text === undefined)
      if (text !== undefined) await writeFileAtomic(join(directory, name), text, { mode: 0o644 })
    }
    await syncDirectory(directory)
  }

  /** Hides a layer. @returns the path of its files */
  async unpublish(id: ChainID): Promise<string> {
    const hex = hexOf(id)
    const removing = join(this.#layers, `${hex}-${randomBytes(8).toString('hex')}-removing`)
    await rename(join(this.#layers, hex), removing)
    await syncDirectory(this.#layers)
    return removing
  }

  /** Layers whose removal is under way or was interrupted, with the driver's id if it is known. */
  async removing(): Promise<{ readonly path: string; readonly cacheId: string | undefined }[]> {
    const names = namesIn(this.#layers).filter((name) => REMOVING.test(name))
    return names.map((name) => removed(join(this.#layers, name)))
  }

  /**
   * The parent of each layer, except of damaged ones. Cached, because the parent of a ChainID never changes.
   */
  async parents(): Promise<Map<ChainID, ChainID | undefined>> {
    const ids = await this.chainIds()
    const unknown = ids.filter((id) => !this.#parents.has(id))
    const layers = await mapYielding(unknown, (id) => orUndefined(() => this.#layer(id)))
    for (const layer of layers) if (layer !== undefined) this.#parents.set(layer.chainId, layer.parent)
    const here = new Set(ids)
    for (const id of this.#parents.keys()) if (!here.has(id)) this.#parents.delete(id)
    return new Map(this.#parents)
  }

  /** `undefined` if the layer does not exist. Rejects with `STORE_CORRUPT` if its files are damaged. */
  async writable(name: string): Promise<WritableLayer | undefined> {
    return this.#writable(name)
  }

  #writable(name: string): WritableLayer | undefined {
    return readWhole(this.#mountDirectory(name), (directory) => {
      const mountId = readText(join(directory, 'mount-id'))
      const initId = readText(join(directory, 'init-id'))
      const parent = readText(join(directory, 'parent'))
      if (mountId === undefined || !CACHE_ID.test(mountId)) return undefined
      if ((initId !== undefined && !CACHE_ID.test(initId)) || (parent !== undefined && !isDigest(parent)))
        return undefined
      return { name, mountId, initId, parent: parent as ChainID | undefined }
    })
  }

  /** Includes damaged layers. */
  async requireWritable(name: string): Promise<WritableLayer> {
    const layer = this.#writable(name)
    if (layer === undefined) throw writableNotFound(name)
    return layer
  }

  /** The driver's id of the layer below a writable layer. */
  async idBelow({ initId, parent }: WritableLayer): Promise<string | undefined> {
    return initId ?? this.cacheIdOf(parent)
  }

  async writableNames(): Promise<string[]> {
    return namesIn(this.#mounts).filter((name) => WRITABLE.test(name))
  }

  async writables(): Promise<WritableLayer[]> {
    const layers = await mapYielding(await this.writableNames(), (name) => this.#writable(name))
    return layers.filter((layer) => layer !== undefined)
  }

  /**
   * The driver ids in all entries. `undefined` while an entry is damaged, because it may name another id.
   */
  async driverIds(): Promise<Set<string> | undefined> {
    try {
      const layers = await mapYielding(await this.chainIds(), (id) => this.#layer(id))
      const ids = layers.map((layer) => layer?.cacheId)
      for (const { mountId, initId } of await this.writables()) ids.push(mountId, initId)
      return new Set(ids.filter((id) => id !== undefined))
    } catch (error) {
      if (error instanceof StoreError) return undefined
      throw error
    }
  }

  /** Writes the files that `addWritable` publishes, outside of the lock. Leaves nothing behind if it fails. */
  async prepareWritable(layer: WritableLayer): Promise<void> {
    const writeSet = await this.writeSet(layer.mountId)
    try {
      await writeFiles(writeSet, { 'mount-id': layer.mountId, 'init-id': layer.initId, parent: layer.parent })
    } catch (error) {
      this.removeWriteSet(layer.mountId)
      throw error
    }
  }

  /** Publishes a prepared writable layer. Leaves nothing behind if it fails. */
  async addWritable({ name, mountId }: WritableLayer): Promise<void> {
    try {
      renameSync(this.#writeSetDirectory(mountId), this.#mountDirectory(name))
    } catch (error) {
      this.removeWriteSet(mountId)
      throw error
    }
    await syncDirectory(this.#mounts)
  }

  async discardWritable(name: string): Promise<void> {
    await rm(this.#mountDirectory(name), { recursive: true, force: true })
    await syncDirectory(this.#mounts)
  }

  async removeWritable({ name, mountId }: Pick<WritableLayer, 'name' | 'mountId'>): Promise<void> {
    this.removeWriteSet(mountId)
    try {
      renameSync(this.#mountDirectory(name), this.#writeSetDirectory(mountId))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return
      throw error
    }
    await syncDirectory(this.#mounts)
    this.removeWriteSet(mountId)
  }

  #writeSetDirectory(driverId: string): string {
    return join(this.#temporary, `${WRITE_SET}${driverId}`)
  }

  #layerDirectory(id: ChainID): string {
    return join(this.#layers, hexOf(id))
  }

  #mountDirectory(name: string): string {
    if (!WRITABLE.test(name)) throw new TypeError(`invalid name of a writable layer: ${name}`)
    return join(this.#mounts, name)
  }
}

function removed(path: string): { path: string; cacheId: string | undefined } {
  const cacheId = readText(join(path, 'cache-id'))
  return { path, cacheId: cacheId !== undefined && CACHE_ID.test(cacheId) ? cacheId : undefined }
}

/** Removes a directory, which no file can be renamed over. With `always`, removes a file too. */
async function clear(path: string, always = false): Promise<void> {
  const isFile = (await lstat(path).catch(() => undefined))?.isFile() === true
  if (always || !isFile) await rm(path, { recursive: true, force: true })
}

async function writeFiles(
  directory: string,
  files: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  // Concurrent fsyncs share one journal commit.
  await allDone(
    Object.entries(files).map(async ([name, text]) => {
      if (text !== undefined) await writeFile(join(directory, name), text)
    }),
  )
  await syncDirectory(directory)
}

async function writeFile(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Rejects after all of them have ended. */
async function allDone(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}

/**
 * The result of `read` on a directory's files. If `read` returns `undefined`, the files are damaged, unless the directory
 * was removed or recreated between two reads.
 */
function readWhole<T>(directory: string, read: (directory: string) => T | undefined): T | undefined {
  for (;;) {
    const before = identity(directory)
    if (before === undefined) return undefined
    const whole = read(directory)
    if (whole !== undefined) return whole
    if (identity(directory) === before) throw corrupt(directory)
  }
}

function identity(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    // A directory in the file's place reads as text that no caller accepts.
    if (isErrno(error, 'EISDIR')) return ''
    throw error
  }
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function corrupt(path: string): StoreError {
  return new StoreError('STORE_CORRUPT', `a layerdb entry has an empty, missing or malformed file: ${path}`, {
    path,
    hint: 'check({ repair: true }) rewrites the entry, or rebuilds the layer from an archive (option `from`)',
  })
}

export function layerNotFound(id: ChainID): StoreError {
  return new StoreError('LAYER_NOT_FOUND', `no such layer: ${id}`)
}

export function writableNotFound(name: string): StoreError {
  return new StoreError('CONTAINER_NOT_FOUND', `no such writable layer: ${name}`)
}
