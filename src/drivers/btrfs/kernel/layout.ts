import { readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn, removeAbandoned } from '../../../durable/abandoned.js'
import { writeFileAtomic } from '../../../durable/atomic-file.js'
import { makeStoreDirectory } from '../../../durable/make-directory.js'
import { syncDirectory } from '../../../durable/sync-directory.js'
import { isErrno } from '../../../errors.js'
import {
  createSubvolume,
  isSubvolume,
  snapshotSubvolume,
  type SubvolumeCallOptions,
} from '../../../sys/btrfs-subvolume.js'
import { isTemporaryName } from '../../../sys/temporary-name.js'
import type { Damage } from '../../driver.js'
import { emptyTrash, isTrash, trash } from '../../trash.js'
import { removeSubvolume } from './remove-subvolume.js'
import { clearReplacing, hasNested } from './nested.js'

/**
 * The directories of Docker's btrfs. `subvolumes/<id>` is a subvolume with the whole tree of a layer. `quotas/<id>` is
 * its size limit in bytes, if it has one.
 *
 * 1. A layer exists if its subvolume does. A layer that needs more than a snapshot is made under another name
 *    (`<id>-making`) and then renamed. A snapshot is on disk when its call returns: the commit of a transaction creates
 *    it.
 * 2. A layer is renamed (`<id>-removing`) before it is destroyed, which takes several steps if subvolumes are nested in
 *    it.
 * 3. A limit is written before its layer exists, and removed after the layer is.
 */
export class BtrfsLayout {
  readonly #root: string
  readonly home: string

  constructor(root: string) {
    this.#root = root
    this.home = join(root, 'subvolumes')
  }

  async make(): Promise<void> {
    makeStoreDirectory(this.#root, 0o710)
    makeStoreDirectory(this.home, 0o710)
  }

  directory(id: string): string {
    return join(this.home, id)
  }

  exists(id: string): boolean {
    return isSubvolume(this.directory(id))
  }

  list(): string[] {
    return namesIn(this.home).filter((name) => isLayer(name) && this.exists(name))
  }

  /**
   * Creates a layer durably, as a snapshot of its parent if it has one.
   * @param prepare receives the directory of a layer that needs more than a snapshot: one without a parent, with a
   *   limit, or whose parent has nested subvolumes
   * @param options of the snapshot
   */
  async create(
    id: string,
    parent: string | undefined,
    quota: bigint | undefined,
    prepare: (directory: string) => void | Promise<void>,
    options: SubvolumeCallOptions,
  ): Promise<void> {
    if (parent !== undefined && quota === undefined && !hasNested(this.directory(parent))) {
      return snapshotSubvolume(this.directory(parent), this.home, id, options)
    }
    const making = `${id}${MAKING}`
    try {
      await removeSubvolume(this.directory(making))
      if (parent === undefined) createSubvolume(this.home, making)
      else await snapshotSubvolume(this.directory(parent), this.home, making, options)
      await prepare(this.directory(making))
      if (quota !== undefined) await writeFileAtomic(this.#quota(id), String(quota), { mode: 0o644 })
      renameSync(this.directory(making), this.directory(id))
      await syncDirectory(this.home)
    } catch (error) {
      await removeSubvolume(this.directory(making)).catch(() => undefined)
      rmSync(this.#quota(id), { recursive: true, force: true })
      throw error
    }
  }

  /** Returns the size limit that was set for a layer, in bytes. */
  quota(id: string): bigint | undefined {
    try {
      const text = readFileSync(this.#quota(id), 'utf8')
      return /^\d+$/.test(text) ? BigInt(text) : undefined
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'EISDIR')) return undefined
      throw error
    }
  }

  async remove(id: string): Promise<void> {
    await removeSubvolume(this.directory(`${id}${MAKING}`))
    await clearReplacing(this.directory(id))
    await trash(this.home, id, removeSubvolume)
    rmSync(this.#quota(id), { recursive: true, force: true })
  }

  holdsLayers(): boolean {
    return namesIn(this.home).some((name) => isLayer(name) && this.exists(name))
  }

  /** Ids of layers, of `<id>-making` subvolumes, and of limits without a layer. */
  idsOnDisk(): string[] {
    const names = namesIn(this.home).filter((name) => !isTrash(name) && !isTemporaryName(name))
    const limited = namesIn(join(this.#root, 'quotas')).filter((name) => !isTemporaryName(name))
    return [...new Set([...names.map((name) => name.replace(HALF_MADE, '')), ...limited])]
  }

  /** Clears layers under removal and abandoned temporary files. Returns what cannot be removed. */
  async tidy(): Promise<Damage[]> {
    await removeAbandoned(join(this.#root, 'quotas'))
    return emptyTrash(this.home, removeSubvolume)
  }

  async adopt(id: string, newId: string): Promise<void> {
    renameSync(this.directory(id), this.directory(newId))
    await syncDirectory(this.home)
    rmSync(this.#quota(id), { recursive: true, force: true })
  }

  #quota(id: string): string {
    return join(this.#root, 'quotas', id)
  }
}

const MAKING = '-making'
const HALF_MADE = /-making$/

function isLayer(name: string): boolean {
  return !isTrash(name) && !name.endsWith(MAKING)
}
