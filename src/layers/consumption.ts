import { existsSync, rmSync } from 'node:fs'
import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { chainId, isDigest, sha256, type ChainID, type ImageID } from '../digest.js'
import { writeFileAtomic } from '../durable/atomic-file.js'
import { Lock } from '../durable/lock.js'
import { syncDirectory } from '../durable/sync-directory.js'
import { isErrno } from '../errors.js'
import type { Layer } from './layer.js'

/** Everything that a commit with `consume` does to a container once it is decided. */
export interface Consumption {
  /** The container's id, which is the name of its writable layer. */
  readonly container: string
  readonly mountId: string
  readonly layer: Layer
  readonly image: NewConsumedImage
}

interface NewConsumedImage {
  readonly id: ImageID
  /** The config's bytes, as UTF-8. */
  readonly config: string
  readonly parent: ImageID
  /** Familiar texts. */
  readonly references: readonly string[]
}

/**
 * Decided consumptions, one file each: `layerstack/consuming/<driver>/<container id>.json`.
 *
 * A commit with `consume` turns a container into an image. A kill leaves one or the other:
 *
 * 1. The layer is read, hashed and fsynced in a write set first. Until then the container is untouched.
 * 2. The rename of the consumption's file is the commit point. Before it, recovery drops the write set and the container
 *    is as it was. After it, recovery finishes the image.
 * 3. The steps after the commit point can be repeated: adopt the driver's layer, publish the layer, remove the writable
 *    layer, store the image, set its references, remove the container's record.
 * 4. The file goes last. The process's lease outlives it.
 * 5. If the driver refuses to adopt the layer, because another process has the container open, the file is removed and
 *    the container is as it was.
 * 6. While the file exists, the container cannot be opened: its content is already hashed.
 * 7. While the file exists, no process removes the layer, although no image names it yet.
 * 8. A damaged file is set aside. Recovery then gives an adopted layer back to its container.
 */
export class Consumptions {
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  has(container: string): boolean {
    return existsSync(this.#path(container))
  }

  /** When this resolves, the consumption is decided. */
  async decide(consumption: Consumption): Promise<void> {
    await writeFileAtomic(this.#path(consumption.container), JSON.stringify(consumption))
  }

  async remove(container: string): Promise<void> {
    if (!this.has(container)) return
    rmSync(this.#path(container), { force: true })
    await syncDirectory(this.directory)
  }

  /** All decided consumptions, without those whose files are damaged or cannot be read. */
  async list(): Promise<Consumption[]> {
    const read = await Promise.all((await this.#files()).map((file) => this.#read(file)))
    return read.filter((consumption) => consumption instanceof Object)
  }

  /** Whether a consumption makes an image of the layer. */
  async nameLayer(id: ChainID): Promise<boolean> {
    return (await this.list()).some(({ layer }) => layer.chainId === id)
  }

  /** Renames damaged files to `<file>.damaged`. Nothing can be finished from them. */
  async setAsideDamaged(): Promise<void> {
    for (const file of await this.#files()) {
      if ((await this.#read(file)) !== 'damaged') continue
      const path = join(this.directory, file)
      await rename(path, `${path}.damaged`).catch(() => undefined)
    }
  }

  /** Lets one process at a time finish what others left. Does not run `work` when there is nothing to finish. */
  async exclusively(work: () => Promise<void>): Promise<void> {
    if ((await this.#files()).length === 0) return
    await using _lock = await Lock.acquire(join(this.directory, 'lock'))
    await work()
  }

  /** `undefined` for a file that is gone, or that cannot be read now. */
  async #read(file: string): Promise<Consumption | 'damaged' | undefined> {
    try {
      const consumption = parse(await readFile(join(this.directory, file), 'utf8'))
      return consumption !== undefined && file === `${consumption.container}.json` ? consumption : 'damaged'
    } catch (error) {
      return isErrno(error, 'EISDIR', 'ELOOP') ? 'damaged' : undefined
    }
  }

  async #files(): Promise<string[]> {
    const names = await readdir(this.directory).catch((error: unknown) => {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    })
    return names.filter((name) => FILE.test(name))
  }

  #path(container: string): string {
    return join(this.directory, `${container}.json`)
  }
}

const FILE = /^[a-f0-9]{64}\.json$/
const ID = /^[a-f0-9]{64}$/

/** `undefined` for text that `decide` cannot have written. */
function parse(text: string): Consumption | undefined {
  try {
    const consumption = JSON.parse(text) as Consumption
    return isConsumption(consumption) ? consumption : undefined
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

function isConsumption({ container, mountId, layer, image }: Consumption): boolean {
  const ids = [container, mountId, layer.cacheId]
  if (!ids.every((id) => typeof id === 'string' && ID.test(id))) return false
  if (!isDigest(layer.chainId) || !isDigest(layer.diffId) || !Number.isSafeInteger(layer.size)) return false
  if (layer.parent !== undefined && !isDigest(layer.parent)) return false
  if (chainId(layer.parent, layer.diffId) !== layer.chainId) return false
  if (!Array.isArray(image.references) || !image.references.every((text) => typeof text === 'string'))
    return false
  return typeof image.config === 'string' && isDigest(image.parent) && sha256(image.config) === image.id
}
