import { lstatSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { namesIn } from '../../durable/abandoned.js'
import { makeStoreDirectory } from '../../durable/make-directory.js'
import { syncDirectory } from '../../durable/sync-directory.js'
import { isErrno } from '../../errors.js'
import { isTemporaryName } from '../../sys/temporary-name.js'
import type { Damage } from '../driver.js'
import { discard, emptyTrash, isTrash, trash } from '../trash.js'

/**
 * The directories of Docker's vfs: `dir/<id>` is the whole tree of a layer. Beside it, `dir/<id>.attributes` where
 * attributes are kept in a file.
 *
 * 1. A layer exists when its directory does. The directory is filled and synced under another name (`<id>-making`) and
 *    renamed. `remove` clears both names.
 * 2. A layer is renamed (`<id>-removing`) before its content is removed.
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

  exists(id: string): boolean {
    return lstatSync(this.directory(id), { throwIfNoEntry: false })?.isDirectory() === true
  }

  list(): string[] {
    return namesIn(this.home).filter((name) => isLayer(name) && this.exists(name))
  }

  /** Makes a layer of what `fill` puts in an empty directory, durably. */
  async create(id: string, fill: (directory: string) => Promise<void>): Promise<void> {
    const making = this.directory(`${id}${MAKING}`)
    try {
      await this.#discard(making)
      await mkdir(making, { mode: 0o755 })
      await fill(making)
      await renameIfThere(`${making}${ATTRIBUTES}`, `${this.directory(id)}${ATTRIBUTES}`)
      await rename(making, this.directory(id))
      await syncDirectory(this.home)
    } catch (error) {
      await this.#discard(making).catch(() => undefined)
      throw error
    }
  }

  holdsLayers(): boolean {
    return namesIn(this.home).some((name) => isLayer(name) && this.exists(name))
  }

  /** Of layers, of `<id>-making` and of attributes without a layer. */
  idsOnDisk(): string[] {
    const names = namesIn(this.home).filter((name) => !isTrash(name) && !isTemporaryName(name))
    return [...new Set(names.map((name) => name.replace(HALF_MADE, '')))]
  }

  /** Clears layers under removal, and tells what cannot be removed. */
  tidy(): Promise<Damage[]> {
    return emptyTrash(this.home)
  }

  async remove(id: string): Promise<void> {
    await this.#discard(this.directory(`${id}${MAKING}`))
    await trash(this.home, id)
    await rm(`${this.directory(id)}${ATTRIBUTES}`, { force: true })
  }

  async adopt(id: string, newId: string): Promise<void> {
    await renameIfThere(`${this.directory(id)}${ATTRIBUTES}`, `${this.directory(newId)}${ATTRIBUTES}`)
    await rename(this.directory(id), this.directory(newId))
    await syncDirectory(this.home)
  }

  async #discard(making: string): Promise<void> {
    await discard(making)
    await rm(`${making}${ATTRIBUTES}`, { force: true })
  }
}

const MAKING = '-making'
const ATTRIBUTES = '.attributes'
/** What follows the id in names beside a layer's own. */
const HALF_MADE = /(?:-making)?(?:\.attributes(?:\.new)?)?$/

function isLayer(name: string): boolean {
  return !isTrash(name) && !name.endsWith(MAKING)
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error
  }
}
