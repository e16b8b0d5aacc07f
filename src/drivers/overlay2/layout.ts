import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs'
import { namesIn, removeAbandoned } from '../../durable/abandoned.js'
import { basename, dirname, join } from 'node:path'
import { writeFileAtomic, writeNewFile } from '../../durable/atomic-file.js'
import { makeStoreDirectory } from '../../durable/make-directory.js'
import { syncDirectory } from '../../durable/sync-directory.js'
import { syncTogether } from '../../durable/sync-together.js'
import { isErrno, StoreError } from '../../errors.js'
import { isTemporaryName, temporaryName } from '../../sys/temporary-name.js'
import { isMountPoint, mountPointsBelow } from '../../sys/mount-table.js'
import type { Damage } from '../driver.js'
import { noLayer } from '../refusals.js'
import { discard, emptyTrash, isTrash, trash } from '../trash.js'
import { forgetVolatile } from './kernel.js'

export interface NewLayer {
  readonly parent: string | undefined
  /** As in `lower`. */
  readonly lowers: readonly string[]
  /** Skips all syncs. After a power cut, rule 2 does not hold for this layer. */
  readonly volatile: boolean
  /** Sets up the layer's root directory, which already exists. */
  readonly prepare: () => void
}

/**
 * The directories of Docker's overlay2:
 *
 *     l/<link>        symlink to ../<id>/diff; its name is short, since a mount takes hundreds
 *     <id>/diff       this layer's own content, in overlay form
 *     <id>/link       the layer's name in l/
 *     <id>/lower      l/A:l/B…, uppermost first; absent without a parent
 *     <id>/work       the work directory of overlayfs; absent without a parent
 *     <id>/committed  the layer has a child, so it is read-only
 *     <id>/merged     the mount point, while a view is open
 *
 * 1. A layer exists if its `link` does: `link` is written last. Anything without `link` is a create or remove that a
 *    crash cut short, and does not count as a layer.
 * 2. `link` is written under a temporary name. It is renamed once it, `lower` and the parent's `committed` are on disk.
 *    The directories are synced before a call resolves. Syncs are grouped, so that a journal is written twice per
 *    layer.
 * 3. `l/<link>` can be recreated from `link`. It is recreated if it is missing or points elsewhere (a crash during
 *    `adopt`). An empty `link`, as a crash left in Docker (moby#35747), is recreated from `l/`.
 * 4. `adopt` first repoints the symlink, then renames the layer's directory. After a crash in between, the layer still
 *    exists under its old id, and rule 3 points the symlink back.
 */
export class Overlay2Layout {
  readonly home: string

  constructor(home: string) {
    this.home = home
  }

  async make(): Promise<void> {
    makeStoreDirectory(this.home, 0o710)
    makeStoreDirectory(this.#links, 0o700)
  }

  directory(id: string): string {
    return join(this.home, id)
  }

  diff(id: string): string {
    return join(this.home, id, 'diff')
  }

  work(id: string): string {
    return join(this.home, id, 'work')
  }

  merged(id: string): string {
    return join(this.home, id, 'merged')
  }

  exists(id: string): boolean {
    return isThere(join(this.home, id, 'link'))
  }

  list(): string[] {
    return this.#names().filter((name) => this.exists(name))
  }

  holdsLayers(): boolean {
    return this.#names().some((name) => this.exists(name))
  }

  /** Includes directories without `link`. */
  idsOnDisk(): string[] {
    return this.#names()
  }

  /**
   * Clears layers under removal, abandoned temporary names, and symlinks in `l/` that lead to no layer. Returns what
   * cannot be removed.
   */
  async tidy(): Promise<Damage[]> {
    const [names, links] = [namesIn(this.home), namesIn(this.#links)]
    const stuck = await emptyTrash(this.home, discardLayer, names)
    await removeAbandoned(this.home, names)
    await removeAbandoned(this.#links, links)
    // Each layer has one symlink. Reading all of them takes time, so do it only if there are too many.
    if (links.length < names.length) return stuck
    // During `adopt` a symlink leads nowhere: either `link` of the old id names it, or the new id exists afterwards.
    const used = new Set(this.#names().map((id) => this.#readLink(id)))
    for (const link of links.filter((each) => LINK.test(each) && !used.has(each))) {
      const id = this.#layerOf(link)
      if (id !== undefined && !isThere(this.directory(id))) unlinkIfThere(join(this.#links, link))
    }
    return stuck
  }

  /** Ids of the layers that this process sees as mounted. */
  mounted(): string[] {
    return mountPointsBelow(this.home)
      .filter((point) => dirname(dirname(point)) === this.home && basename(point) === 'merged')
      .map((point) => basename(dirname(point)))
      .filter((name) => !isTemporaryName(name))
  }

  isMounted(id: string): boolean {
    return isThere(this.merged(id)) && isMountPoint(this.merged(id))
  }

  isCommitted(id: string): boolean {
    return isThere(join(this.home, id, 'committed'))
  }

  async create(id: string, { parent, lowers, volatile, prepare }: NewLayer): Promise<void> {
    const sync = volatile ? async () => undefined : syncTogether
    const directory = this.directory(id)
    const link = newLink()
    await this.#makeDirectory(id)
    try {
      mkdirSync(this.diff(id), { mode: 0o755 })
      if (parent !== undefined) mkdirSync(this.work(id), { mode: 0o700 })
      prepare()
      symlinkSync(join('..', id, 'diff'), join(this.#links, link))
      const aside = join(directory, `.tmp-link-${link}`)
      const files = [aside]
      writeNewFile(aside, link, { mode: 0o644 })
      if (parent !== undefined) {
        files.push(join(directory, 'lower'))
        writeNewFile(join(directory, 'lower'), lowers.join(':'), { mode: 0o644 })
      }
      const isFirst = parent !== undefined && this.#commit(parent)
      await sync({ files, directories: isFirst ? [this.directory(parent)] : [] })
      renameSync(aside, join(directory, 'link'))
      await sync({ directories: [directory, this.home, this.#links] })
    } catch (error) {
      await this.remove(id).catch(() => undefined)
      throw error
    }
  }

  async remove(id: string): Promise<void> {
    for (const link of this.#linksTo(id)) unlinkIfThere(join(this.#links, link))
    await trash(this.home, id, discardLayer)
  }

  async adopt(id: string, newId: string): Promise<void> {
    const link = await this.link(id)
    await trash(this.home, newId)
    await this.#pointLink(link, newId)
    renameSync(this.directory(id), this.directory(newId))
    await syncDirectory(this.home)
  }

  /** Exchanges the `diff` of two layers. The `diff` of `id` may be damaged or missing. */
  async replace(id: string, newId: string): Promise<void> {
    this.#makeLayerDirectory(id)
    const aside = join(this.directory(newId), 'replaced')
    orIfAbsent(() => renameSync(this.diff(id), aside), undefined)
    renameSync(this.diff(newId), this.diff(id))
    orIfAbsent(() => renameSync(aside, this.diff(newId)), undefined)
    await syncTogether({ directories: [this.directory(id), this.directory(newId)] })
  }

  /**
   * Rewrites `link`, `lower` and whatever else is kept beside a layer's `diff`. The layer keeps its name in `l/`, which
   * the layers above refer to. Rejects with `LAYER_NOT_FOUND` if `diff` does not exist.
   */
  async mend(id: string, lowers: readonly string[]): Promise<void> {
    if (!isDirectory(this.diff(id))) throw noLayer('overlay2', id)
    const link = this.#linkTo(id) ?? this.#readLink(id) ?? newLink()
    await this.#rewrite(join(this.directory(id), 'lower'), lowers.length === 0 ? undefined : lowers.join(':'))
    if (lowers.length > 0 && !isDirectory(this.work(id))) {
      await discard(this.work(id))
      mkdirSync(this.work(id), { mode: 0o700 })
    }
    await this.#pointLink(link, id)
    await this.#rewrite(join(this.directory(id), 'link'), link)
  }

  /** Replaces whatever is at `path`. Without a text, only removes it. */
  async #rewrite(path: string, text: string | undefined): Promise<void> {
    if (text === undefined || isDirectory(path)) await discard(path)
    if (text !== undefined) await writeFileAtomic(path, text, { mode: 0o644, aside: this.home })
  }

  /** Returns the layer's name in `l/`. Makes its symlink point at the layer if it does not. */
  async link(id: string): Promise<string> {
    const link = this.#readLink(id) ?? (await this.#recoverLink(id))
    if (this.#targetOf(link) !== join('..', id, 'diff')) {
      await this.#pointLink(link, id)
    }
    return link
  }

  /** As in `lower`: `l/<link>` of each layer below, uppermost first. */
  lowerLinks(id: string): string[] {
    const path = join(this.home, id, 'lower')
    const text = orIfAbsent(() => readFileSync(path, 'latin1'), undefined)
    // Only a layer without a parent has no work directory.
    if (text === undefined && !isThere(this.work(id))) return []
    if (text !== undefined && LOWER.test(text)) return text.split(':')
    throw corruptLower(path, id)
  }

  /**
   * Returns the layer's `lower`, after comparing its tail with its parent's `lower`. Rejects with `STORE_CORRUPT` if
   * the layer would show other layers than its parent does.
   */
  async stack(id: string): Promise<string[]> {
    const lowers = this.lowerLinks(id)
    const [parent, ...rest] = lowers
    if (parent === undefined) return lowers
    const below = this.lowerLinks(await this.#idOf(id, parent.slice('l/'.length)))
    if (below.join(':') === rest.join(':')) return lowers
    throw corruptLower(join(this.home, id, 'lower'), id)
  }

  /** Ids of the layers below, uppermost first. */
  async lowerIds(id: string): Promise<string[]> {
    const ids: string[] = []
    for (const link of this.lowerLinks(id)) ids.push(await this.#idOf(id, link.slice('l/'.length)))
    return ids
  }

  /** A half-made layer left by a crash has no link, but blocks the name. It is removed. */
  async #makeDirectory(id: string): Promise<void> {
    const make = () => {
      mkdirSync(this.directory(id), { mode: 0o710 })
      // The umask may have cleared bits, and a parent directory may have passed on its set-group-ID bit.
      chmodSync(this.directory(id), 0o710)
    }
    try {
      make()
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
      await trash(this.home, id)
      make()
    }
  }

  async #idOf(id: string, link: string): Promise<string> {
    const lower = this.#layerOf(link)
    if (lower !== undefined && this.exists(lower)) return lower
    const owner = this.list().find((candidate) => this.#readLink(candidate) === link)
    if (owner === undefined) {
      throw new StoreError(
        'STORE_CORRUPT',
        `a layer below ${id} is missing: the symlink l/${link} is dangling`,
        {
          path: join(this.#links, link),
          hint: 'remove the images that contain it, and load them again',
        },
      )
    }
    await this.#pointLink(link, owner)
    return owner
  }

  async #recoverLink(id: string): Promise<string> {
    const path = join(this.home, id, 'link')
    const link = this.#linkTo(id)
    if (link === undefined) {
      throw new StoreError('STORE_CORRUPT', `${path} is damaged, and no symlink in l/ points to the layer`, {
        path,
      })
    }
    await writeFileAtomic(path, link, { mode: 0o644, aside: this.home })
    return link
  }

  #linkTo(id: string): string | undefined {
    return this.#linksInto(id)[0]
  }

  #makeLayerDirectory(id: string): void {
    const path = this.directory(id)
    if (isDirectory(path)) return
    rmSync(path, { force: true })
    mkdirSync(path, { mode: 0o710 })
  }

  async #pointLink(link: string, id: string): Promise<void> {
    mkdirSync(this.#links, { recursive: true, mode: 0o700 })
    const aside = join(this.#links, temporaryName(link))
    symlinkSync(join('..', id, 'diff'), aside)
    const path = join(this.#links, link)
    if (isDirectory(path)) await discard(path)
    renameSync(aside, path)
    await syncDirectory(this.#links)
  }

  /** Returns false if the layer was already committed. */
  #commit(id: string): boolean {
    if (this.isCommitted(id)) return false
    closeSync(openSync(join(this.home, id, 'committed'), 'a', 0o600))
    return true
  }

  /** Returns `undefined` if the file is missing or damaged. */
  #readLink(id: string): string | undefined {
    const link = orIfAbsent(() => readFileSync(join(this.home, id, 'link'), 'latin1'), undefined)
    return link !== undefined && LINK.test(link) ? link : undefined
  }

  /**
   * Returns the content of `link`. Without it, as after a crash in `create`, returns what `l/` contains for the layer.
   */
  #linksTo(id: string): string[] {
    const link = this.#readLink(id)
    if (link) return [link]
    return isThere(this.directory(id)) ? this.#linksInto(id) : []
  }

  #linksInto(id: string): string[] {
    const links = namesIn(this.#links).filter((name) => LINK.test(name))
    return links.filter((link) => this.#layerOf(link) === id)
  }

  #layerOf(link: string): string | undefined {
    return /^\.\.\/([^/]+)\/diff$/.exec(this.#targetOf(link) ?? '')?.[1]
  }

  #names(): string[] {
    return namesIn(this.home).filter((name) => name !== 'l' && !isTrash(name) && !isTemporaryName(name))
  }

  #targetOf(link: string): string | undefined {
    return orIfAbsent(() => readlinkSync(join(this.#links, link)), undefined)
  }

  get #links(): string {
    return join(this.home, 'l')
  }
}

function corruptLower(path: string, id: string): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is damaged: it does not name the layers below ${id}`, {
    path,
    hint: 'check({ repair: true }) rewrites it',
  })
}

/** The content of `lower`. */
const LOWER = /^l\/[A-Za-z0-9]+(?::l\/[A-Za-z0-9]+)*$/

const LINK_LENGTH = 26
/** The content of `link`. */
const LINK = /^[A-Z2-7]{26}$/
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

let random = Buffer.alloc(0)

function newLink(): string {
  // A hundred random bytes cost as much as one, so draw many at once.
  if (random.length === 0) random = randomBytes(64 * LINK_LENGTH)
  let link = ''
  for (const byte of random.subarray(0, LINK_LENGTH)) link += BASE32[byte & 31]
  random = random.subarray(LINK_LENGTH)
  return link
}

/** Removes a layer whose `diff` is empty in a few calls, without listing anything. */
async function discardLayer(path: string): Promise<void> {
  try {
    rmdirSync(join(path, 'diff'))
    removeWork(join(path, 'work'))
    for (const name of ['lower', 'link']) unlinkSync(join(path, name))
    rmdirSync(path)
  } catch {
    await discard(path)
  }
}

/**
 * The work directory is absent without a parent. A kernel mount leaves an empty directory in it, and a volatile mount
 * its marker.
 */
function removeWork(work: string): void {
  if (!isThere(work)) return
  forgetVolatile(work)
  const inside = join(work, 'work')
  if (isThere(inside)) rmdirSync(inside)
  rmdirSync(work)
}

function unlinkIfThere(path: string): void {
  orIfAbsent(() => unlinkSync(path), undefined)
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function orIfAbsent<T, U>(read: () => T, otherwise: U): T | U {
  try {
    return read()
  } catch (error) {
    // EISDIR and EINVAL: something else is in place of the file or symlink.
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EISDIR', 'EINVAL')) return otherwise
    throw error
  }
}
