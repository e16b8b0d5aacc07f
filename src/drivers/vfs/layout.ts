import { lstatSync, rmSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { namesIn } from '../../durable/abandoned.js'
import { makeStoreDirectory } from '../../durable/make-directory.js'
import { syncDirectory } from '../../durable/sync-directory.js'
import { isErrno } from '../../errors.js'
import { isTemporaryName } from '../../sys/temporary-name.js'
import type { Damage } from '../driver.js'
import { discard, emptyTrash, isTrash, trash } from '../trash.js'

/**
 * The directories of Docker's vfs. `dir/<id>` is the whole tree of a layer. Two files beside it belong to the layer:
 * `dir/<id>.attributes`, if attributes are kept in a file, and `dir/<id>.copied`, the `CopyRecord` of a layer with a
 * parent.
 *
 * 1. A layer exists if its directory does. The directory is filled and synced under another name (`<id>-making`) and
 *    then renamed. `remove` clears both names.
 * 2. A layer is renamed (`<id>-removing`) before its content is removed.
 * 3. The files beside the directory are renamed before it, so a directory is never without its attributes. A layer
 *    without its copy record is compared by content.
 * 4. The name of a file beside a layer is never a layer, even if damage put a directory in its place.
 */
export class VfsLayout {
  readonly home: string

  constructor(home: string) {
    this.home = join(home, 'dir')
  }

  async make(): Promise<void> {
    makeStoreDirectory(join(this.home, '..'), 0o710)
    makeStoreDirectory(this.home, 0o710)
  }

  directory(id: string): string {
    return join(this.home, id)
  }

  copyRecord(id: string): string {
    return `${this.directory(id)}${COPIED}`
  }

  exists(id: string): boolean {
    return lstatSync(this.directory(id), { throwIfNoEntry: false })?.isDirectory() === true
  }

  list(): string[] {
    return namesIn(this.home).filter((name) => isLayer(name) && this.exists(name))
  }

  /** Creates a layer durably. `fill` receives an empty directory to fill. */
  async create(id: string, fill: (directory: string, copyRecord: string) => Promise<void>): Promise<void> {
    const making = `${id}${MAKING}`
    try {
      await this.#discard(making)
      await mkdir(this.directory(making), { mode: 0o755 })
      await fill(this.directory(making), this.copyRecord(making))
      await this.#rename(making, id)
    } catch (error) {
      await this.#discard(making).catch(() => undefined)
      throw error
    }
  }

  holdsLayers(): boolean {
    return namesIn(this.home).some((name) => isLayer(name) && this.exists(name))
  }

  /** Ids of layers, of `<id>-making` directories, and of files without a layer. */
  idsOnDisk(): string[] {
    const names = namesIn(this.home).filter((name) => !isTrash(name) && !isTemporaryName(name))
    return [...new Set(names.map((name) => name.replace(HALF_MADE, '')))]
  }

  /** Clears layers under removal. Returns what cannot be removed. */
  tidy(): Promise<Damage[]> {
    return emptyTrash(this.home)
  }

  async remove(id: string): Promise<void> {
    await this.#discard(`${id}${MAKING}`)
    await trash(this.home, id)
    this.#removeBeside(id)
  }

  adopt(id: string, newId: string): Promise<void> {
    return this.#rename(id, newId)
  }

  async #rename(id: string, newId: string): Promise<void> {
    for (const suffix of BESIDE)
      await renameIfThere(`${this.directory(id)}${suffix}`, `${this.directory(newId)}${suffix}`)
    await rename(this.directory(id), this.directory(newId))
    await syncDirectory(this.home)
  }

  async #discard(making: string): Promise<void> {
    await discard(this.directory(making))
    this.#removeBeside(making)
  }

  #removeBeside(id: string): void {
    for (const suffix of BESIDE) rmSync(`${this.directory(id)}${suffix}`, { recursive: true, force: true })
  }
}

const MAKING = '-making'
const COPIED = '.copied'
const BESIDE = ['.attributes', COPIED]
/** What follows the id in the names of half-made layers and of files beside a layer. */
const HALF_MADE = /(?:-making)?(?:\.copied|\.attributes(?:\.new)?)?$/

function isLayer(name: string): boolean {
  return !isTrash(name) && ![MAKING, ...BESIDE].some((suffix) => name.endsWith(suffix))
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}
