import { randomBytes } from 'node:crypto'
import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import fse from 'fs-extra'
import { chainId, hexOf, isDigest, type ChainID, type DiffID } from '../digest.js'
import { syncDirectory } from '../durable/sync-directory.js'
import { isErrno, StoreError } from '../errors.js'
import { fewAtATime } from '../operation.js'
import type { Layer, WritableLayer } from './layer.js'

const CACHE_ID = /^[a-f0-9]{64}(-init)?$/
const HEX = /^[a-f0-9]{64}$/
const REMOVING = /^[a-f0-9]{64}-.*-removing$/
const WRITABLE = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/
const WRITE_SET = 'write-set-'
const OWN_WRITE_SET = /^write-set-([a-f0-9]{64})$/
export const TAR_SPLIT = 'tar-split.json.gz'

/**
 * Which layers there are, as files in Docker's own layout, `image/<driver>/layerdb`:
 *
 *     sha256/<chain hex>/{diff,size,cache-id,parent,tar-split.json.gz}    a layer
 *     mounts/<name>/{mount-id,init-id,parent}                             a writable layer
 *     tmp/write-set-<driver's id>/                                        one that is being written
 *
 * 1. A layer's directory appears whole, by one rename, when its files and the driver's are on disk.
 * 2. It disappears by one rename, to `<chain hex>-<random>-removing`, before anything of it is removed.
 * 3. So what stands under a chain's name is whole, unless somebody else's crash (moby#44909) left less: `layer` tells.
 * 4. The same holds for writable layers, which go by a rename to the write set of their driver's id.
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
    for (const path of [this.#layers, this.#mounts, this.#temporary]) await fse.ensureDir(path, 0o700)
  }

  /** `undefined` if there is none; `STORE_CORRUPT` if its files are not what they should be. */
  layer(id: ChainID): Promise<Layer | undefined> {
    return readWhole(this.#layerDirectory(id), async (directory) => {
      const diffId = await readText(join(directory, 'diff'))
      const cacheId = await readText(join(directory, 'cache-id'))
      const parent = await readText(join(directory, 'parent'))
      const size = await readText(join(directory, 'size'))
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

  async chainIds(): Promise<ChainID[]> {
    const names = await list(this.#layers)
    return names.filter((name) => HEX.test(name)).map((hex) => `sha256:${hex}` as ChainID)
  }

  /** Whether there is a directory of the layer, damaged or not. */
  async has(id: ChainID): Promise<boolean> {
    return (await identity(this.#layerDirectory(id))) !== undefined
  }

  tarSplit(id: ChainID): string {
    return join(this.#layerDirectory(id), TAR_SPLIT)
  }

  /** A directory to write a layer's files in, before anybody can see them; it is found again by the driver's id. */
  async writeSet(driverId: string): Promise<string> {
    const path = this.#writeSetDirectory(driverId)
    await fse.mkdirp(path, { mode: 0o755 })
    return path
  }

  async removeWriteSet(driverId: string): Promise<void> {
    await rm(this.#writeSetDirectory(driverId), { recursive: true, force: true })
  }

  /** Driver's ids of all write sets of this library. Those of dockerd have other names. */
  async writeSets(): Promise<string[]> {
    const names = await list(this.#temporary)
    return names.map((name) => OWN_WRITE_SET.exec(name)?.[1]).filter((id) => id !== undefined)
  }

  /** Completes a write set that holds the layer's tar-split. When this resolves, it is on disk. */
  async seal(writeSet: string, layer: Layer): Promise<void> {
    await writeFiles(writeSet, {
      diff: layer.diffId,
      size: String(layer.size),
      'cache-id': layer.cacheId,
      parent: layer.parent,
    })
  }

  /** Makes the sealed write set of the driver's layer `driverId` a layer. */
  async publish(driverId: string, id: ChainID): Promise<void> {
    await rename(this.#writeSetDirectory(driverId), this.#layerDirectory(id))
    await syncDirectory(this.#layers)
  }

  /** Takes a layer out of sight; returns where its files are now. */
  async unpublish(id: ChainID): Promise<string> {
    const hex = hexOf(id)
    const removing = join(this.#layers, `${hex}-${randomBytes(8).toString('hex')}-removing`)
    await rename(join(this.#layers, hex), removing)
    await syncDirectory(this.#layers)
    return removing
  }

  /** Layers that are being removed, or were when somebody crashed, with the driver's id as far as it is known. */
  async removing(): Promise<{ readonly path: string; readonly cacheId: string | undefined }[]> {
    const names = (await list(this.#layers)).filter((name) => REMOVING.test(name))
    return fewAtATime(names, (name) => this.#removed(join(this.#layers, name)))
  }

  /**
   * The layer below each, of all layers but the damaged ones. What is below a ChainID never changes, so an entry is read
   * once.
   */
  async parents(): Promise<Map<ChainID, ChainID | undefined>> {
    const ids = await this.chainIds()
    await fewAtATime(
      ids.filter((id) => !this.#parents.has(id)),
      async (id) => {
        const layer = await this.layer(id).catch(() => undefined)
        if (layer !== undefined) this.#parents.set(id, layer.parent)
      },
    )
    const here = new Set(ids)
    for (const id of this.#parents.keys()) if (!here.has(id)) this.#parents.delete(id)
    return new Map(this.#parents)
  }

  /** `undefined` if there is none; `STORE_CORRUPT` if its files are not what they should be. */
  writable(name: string): Promise<WritableLayer | undefined> {
    return readWhole(this.#mountDirectory(name), async (directory) => {
      const mountId = await readText(join(directory, 'mount-id'))
      const initId = await readText(join(directory, 'init-id'))
      const parent = await readText(join(directory, 'parent'))
      if (mountId === undefined || !CACHE_ID.test(mountId)) return undefined
      if ((initId !== undefined && !CACHE_ID.test(initId)) || (parent !== undefined && !isDigest(parent)))
        return undefined
      return { name, mountId, initId, parent: parent as ChainID | undefined }
    })
  }

  /** Damaged ones too. */
  async writableNames(): Promise<string[]> {
    return (await list(this.#mounts)).filter((name) => WRITABLE.test(name))
  }

  async writables(): Promise<WritableLayer[]> {
    const layers = await fewAtATime(await this.writableNames(), (name) => this.writable(name))
    return layers.filter((layer) => layer !== undefined)
  }

  /**
   * Ids of all layers of the driver that are named here; `undefined` while an entry is damaged, since that may be the one
   * that names a further one.
   */
  async driverIds(): Promise<Set<string> | undefined> {
    try {
      const layers = await fewAtATime(await this.chainIds(), (id) => this.layer(id))
      const ids = layers.map((layer) => layer?.cacheId)
      for (const { mountId, initId } of await this.writables()) ids.push(mountId, initId)
      return new Set(ids.filter((id) => id !== undefined))
    } catch (error) {
      if (error instanceof StoreError) return undefined
      throw error
    }
  }

  /** When it fails nothing is left of it. */
  async addWritable(layer: WritableLayer): Promise<void> {
    const writeSet = await this.writeSet(layer.mountId)
    try {
      await writeFiles(writeSet, { 'mount-id': layer.mountId, 'init-id': layer.initId, parent: layer.parent })
      await rename(writeSet, this.#mountDirectory(layer.name))
    } catch (error) {
      await rm(writeSet, { recursive: true, force: true })
      throw error
    }
    await syncDirectory(this.#mounts)
  }

  async discardWritable(name: string): Promise<void> {
    await rm(this.#mountDirectory(name), { recursive: true, force: true })
    await syncDirectory(this.#mounts)
  }

  async removeWritable({ name, mountId }: Pick<WritableLayer, 'name' | 'mountId'>): Promise<void> {
    await this.removeWriteSet(mountId)
    try {
      await rename(this.#mountDirectory(name), this.#writeSetDirectory(mountId))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return
      throw error
    }
    await syncDirectory(this.#mounts)
    await this.removeWriteSet(mountId)
  }

  #writeSetDirectory(driverId: string): string {
    return join(this.#temporary, `${WRITE_SET}${driverId}`)
  }

  #layerDirectory(id: ChainID): string {
    return join(this.#layers, hexOf(id))
  }

  #mountDirectory(name: string): string {
    if (!WRITABLE.test(name)) throw new TypeError(`not a name of a writable layer: ${name}`)
    return join(this.#mounts, name)
  }

  async #removed(path: string): Promise<{ path: string; cacheId: string | undefined }> {
    const cacheId = await readText(join(path, 'cache-id'))
    return { path, cacheId: cacheId !== undefined && CACHE_ID.test(cacheId) ? cacheId : undefined }
  }
}

async function writeFiles(
  directory: string,
  files: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  // A journal that several ask at once writes once for all of them.
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

/** Rejects when nothing is under way any more. */
async function allDone(work: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}

/**
 * What `read` makes of a directory's files: `undefined` is what they cannot be, unless the directory was removed, or even
 * came again, between two reads.
 */
async function readWhole<T>(
  directory: string,
  read: (directory: string) => Promise<T | undefined>,
): Promise<T | undefined> {
  for (;;) {
    const before = await identity(directory)
    if (before === undefined) return undefined
    const whole = await read(directory)
    if (whole !== undefined) return whole
    if ((await identity(directory)) === before) throw corrupt(directory)
  }
}

async function identity(path: string): Promise<bigint | undefined> {
  try {
    return (await stat(path, { bigint: true })).ino
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'latin1')).trim()
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

async function list(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

function corrupt(path: string): StoreError {
  return new StoreError('STORE_CORRUPT', `a file of a layer is empty or malformed in ${path}`, {
    path,
    hint: 'check({ repair: true }) takes broken layers away; load their images again',
  })
}
