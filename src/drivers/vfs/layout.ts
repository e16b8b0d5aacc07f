import { lstatSync, readdirSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../../durable/sync-directory.js'
import { isErrno } from '../../errors.js'
import { discard, isTrash, trash } from '../trash.js'

/**
 * The directories of Docker's vfs: `dir/<id>` is the whole tree of a layer. Beside it, `dir/<id>.attributes` where
 * attributes are kept in a file.
 *
 * 1. A layer is there when its directory is. It is filled and synced under another name (`<id>-making`) and renamed.
 * 2. It is renamed (`<id>-removing`) before its content is removed.
 */
export class VfsLayout {
  readonly home: string

  constructor(home: string) {
    this.home = join(home, 'dir')
  }

  async make(): Promise<void> {
    await mkdir(join(this.home, '..'), { recursive: true, mode: 0o710 })
    await mkdir(this.home, { recursive: true, mode: 0o710 })
  }

  directory(id: string): string {
    return join(this.home, id)
  }

  exists(id: string): boolean {
    return lstatSync(this.directory(id), { throwIfNoEntry: false })?.isDirectory() === true
  }

  list(): string[] {
    try {
      return readdirSync(this.home).filter((name) => isLayer(name) && this.exists(name))
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return []
      throw error
    }
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

  async remove(id: string): Promise<void> {
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
