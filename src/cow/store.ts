import { randomBytes } from 'node:crypto'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import type { ByteString } from '../fs/bytes.js'
import { systemError } from '../sys/errno.js'
import { BLOCK, type BlockDevice } from './block.js'
import type { Checksum } from './checksum.js'
import { now } from './clock.js'
import { DamagedBlock } from './damage.js'
import { PATIENCE, WAIT, type Guard } from './guard.js'
import { Inode } from './inode.js'
import { u48 } from './key.js'
import { NO_NODE } from './node.js'
import { Nodes } from './nodes.js'
import { Space } from './space.js'
import {
  encodeSuperblock,
  findSuperblock,
  newestGeneration,
  SUPERBLOCKS,
  type Superblock,
} from './superblock.js'
import { Tree, type Ground } from './tree.js'
import { decodeRecord, encodeRecord, ROOT_INODE, Volume, type VolumeRecord } from './volume.js'

export interface StoreOptions {
  readonly checksum: Checksum
  /** Bytes of nodes to keep in memory, including changed ones. @default 32 MiB */
  readonly cache?: number | undefined
  /** @default false */
  readonly readOnly?: boolean
  /** @default none: only this process uses the device */
  readonly guard?: Guard
  /** How long to wait for other processes that change the store, in ms. @default 60000 */
  readonly patience?: number
  /** Treats an empty device as a store that lost its content, instead of formatting it. @default false */
  readonly mustExist?: boolean
}

export interface CreateVolumeOptions {
  /** Name of the volume to copy. */
  readonly from?: string | undefined
  /** Most bytes of content. Rounded up to whole blocks. */
  readonly limit?: bigint | undefined
  readonly mode?: number
}

const CACHE = 32 << 20
/** The longest time before changes are committed, in ms. */
const LATEST_COMMIT = 1000
/** How often the holder of the guard checks whether another process waits for it, in ms. */
const LOOK_FOR_OTHERS = 20
/** A process that changes the store continuously lets waiting processes in after this long, in ms. */
const LONGEST_TURN = 100
/** Attempts to read while other processes commit, before damage is reported. */
const MOST_TRIES = 1000
const SLICE = 8
const NEVER = new Int32Array(new SharedArrayBuffer(4))
const VOLUME = 'L'
const REMOVED = 'R'

/** A superblock, and its slot, that may not be on disk yet. */
interface Sealed {
  readonly superblock: Superblock
  readonly slot: number
}

/**
 * Volumes on a block device; docs/cow-format.md describes the format and its invariants.
 *
 *     begin ──► tree changes in memory, content on the device ──► seal ──► flush ──► superblock ──► flush ──► free
 *
 * `begin` precedes each change. It excludes changes by other processes, and takes over the store's latest state. A
 * commit ends the transaction. `seal` writes what changed and begins the next generation, so that changes can go on
 * during the flushes. The last step frees what the durable state does not reach.
 *
 * Readers take no lock. Another process may free and rewrite a block while it is read. Then its checksum or its
 * generation differs, and `read` restarts from the newest superblock.
 */
export class CowStore implements Ground {
  readonly device: BlockDevice
  readonly readOnly: boolean
  readonly checksum: Checksum
  readonly nodes: Nodes
  space: Space
  generation = 0
  changes = 0
  readonly #guard: Guard | undefined
  readonly #patience: number
  readonly #volumeTree: Tree
  readonly #spaceTree: Tree
  readonly #volumes = new Map<string, Volume>()
  #durable: Sealed
  #newest: Sealed
  #nextVolume: number
  #guarded = false
  #dirty = false
  #committing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  /** When the oldest uncommitted change was made. */
  #dirtySince = 0
  /** When to check next whether another process waits. */
  #lookAt = 0
  /** Whether a change is in progress. A commit now would publish half of it. */
  #changing = false
  #failure: unknown
  #holders = 0
  /** How many callers need the guard although nothing is left to commit. */
  #keepers = 0
  #closed = false

  private constructor(device: BlockDevice, state: Sealed, options: StoreOptions) {
    this.device = device
    this.checksum = options.checksum
    this.readOnly = options.readOnly ?? false
    this.#guard = options.guard
    this.#patience = options.patience ?? PATIENCE
    this.nodes = new Nodes(device, options.checksum, options.cache ?? CACHE)
    this.#volumeTree = new Tree(this, state.superblock.volumes)
    this.#spaceTree = new Tree(this, state.superblock.space)
    this.space = new Space(this.#spaceTree, device, state.superblock)
    this.generation = state.superblock.generation + 1
    this.#nextVolume = state.superblock.nextVolume
    this.#durable = state
    this.#newest = state
  }

  /**
   * Opens the store on a device. Formats an empty device, unless `readOnly` or `mustExist`. Throws `STORE_FOREIGN` if
   * the device holds something else, and `STORE_CORRUPT` if the store is damaged or lost.
   */
  static open(device: BlockDevice, options: StoreOptions): CowStore {
    const found = findSuperblock(device, options.checksum)
    if (found.kind === 'superblock') return new CowStore(device, found, options)
    if (found.kind === 'empty' && options.mustExist === true)
      throw notAStore(device.name, { kind: 'damaged' })
    if (found.kind === 'empty' && options.readOnly !== true) return CowStore.#format(device, options)
    throw notAStore(device.name, found)
  }

  static #format(device: BlockDevice, options: StoreOptions): CowStore {
    const superblock: Superblock = {
      store: randomBytes(16),
      generation: 0,
      groups: 0,
      used: 0,
      nextVolume: 1,
      volumes: NO_NODE,
      space: NO_NODE,
    }
    const store = new CowStore(device, { superblock, slot: 1 }, options)
    store.begin()
    // The first allocations return blocks 0 and 1, which hold the superblocks.
    for (let slot = 0; slot < SUPERBLOCKS; slot++) store.space.allocateNode()
    store.commitNow()
    return store
  }

  /** A number that identifies the store, the same wherever it is opened. */
  get id(): bigint {
    return BigInt(this.#newest.superblock.store.readUInt32LE(0))
  }

  names(): string[] {
    return this.read(() => {
      const names: string[] = []
      for (const [key] of this.#volumeTree.range(VOLUME as ByteString, REMOVED as ByteString)) {
        names.push(key.slice(VOLUME.length))
      }
      return names
    })
  }

  has(name: string): boolean {
    return this.read(() => this.#volumeTree.get(volumeKey(name)) !== undefined)
  }

  /**
   * The volume of this name, or `undefined` if it does not exist. All callers get the same object while the volume is
   * open.
   */
  volume(name: string): Volume | undefined {
    return this.read(() => {
      const open = this.#volumes.get(name)
      if (open !== undefined) return open
      const value = this.#volumeTree.get(volumeKey(name))
      if (value === undefined) return undefined
      const volume = new Volume(name, decodeRecord(value), this)
      this.#volumes.set(name, volume)
      return volume
    })
  }

  /**
   * Reads the newest state. `work` may run more than once: a block that another process freed and rewrote meanwhile
   * looks damaged, so the read restarts. Throws `DamagedBlock` for damage in a state that is still the newest.
   */
  read<T>(work: () => T): T {
    for (let tries = 1; ; tries++) {
      try {
        this.latest()
        return work()
      } catch (error) {
        if (!(error instanceof DamagedBlock) || tries === MOST_TRIES || !this.isStale) throw error
      }
    }
  }

  /**
   * Creates a volume, empty or as a snapshot. A snapshot takes the same time for any volume. Throws `NAME_CONFLICT` if
   * the name exists.
   */
  create(name: string, { from, limit = 0n, mode = 0o755 }: CreateVolumeOptions = {}): Volume {
    return this.change(() => {
      this.#mustBeFree(name)
      const origin = from === undefined ? undefined : this.#existing(from)
      if (this.space.isShort) throw systemError('ENOSPC', 'write')
      const made = {
        number: this.#nextVolume++,
        limit: Number((limit + BigInt(BLOCK) - 1n) / BigInt(BLOCK)),
        madeIn: this.generation,
      }
      const record: VolumeRecord =
        origin === undefined
          ? { ...made, root: NO_NODE, nextInode: ROOT_INODE + 1, blocks: 0, origin: 0 }
          : { ...origin.record, ...made, root: origin.tree.share(), origin: origin.number }
      if (origin !== undefined) this.generation++
      const volume = new Volume(name, record, this)
      if (origin === undefined) volume.setInode(ROOT_INODE, rootDirectory(mode))
      this.#volumes.set(name, volume)
      volume.unsaved()
      this.#volumeTree.set(volumeKey(name), encodeRecord(volume.record))
      return volume
    })
  }

  /** Throws `NAME_CONFLICT` if a volume has the new name. */
  rename(name: string, newName: string): void {
    this.change(() => {
      this.#mustBeFree(newName)
      const volume = this.#existing(name)
      this.#volumeTree.set(volumeKey(newName), encodeRecord(volume.record))
      this.#volumeTree.delete(volumeKey(name))
      volume.unsaved()
      volume.name = newName
      this.#volumes.delete(name)
      this.#volumes.set(newName, volume)
    })
  }

  /** Removes the volume at once. `reap` frees its blocks later. */
  remove(name: string): void {
    this.change(() => {
      const volume = this.#existing(name)
      this.#volumeTree.set(removedKey(volume.number), encodeRecord(volume.record))
      this.#volumeTree.delete(volumeKey(name))
      volume.gone = true
      this.#volumes.delete(name)
    })
  }

  /** Frees removed volumes, leaf by leaf, in time slices. Damaged ones stay. */
  async reap(): Promise<void> {
    const damaged = new Set<ByteString>()
    for (let next = this.#removed(damaged); next !== undefined; next = this.#removed(damaged)) {
      const key = next
      try {
        await this.changeLater(() => this.#reapSlice(key))
      } catch (error) {
        if (!(error instanceof DamagedBlock)) throw error
        damaged.add(key)
      }
      if (this.space.isShort) await this.commit()
      else await setImmediate()
    }
  }

  /** Whether this process has the volume open. */
  isOpen(name: string): boolean {
    return (this.#volumes.get(name)?.opened ?? 0) > 0
  }

  /** Takes over the newest state that another process committed. */
  latest(): void {
    if (this.isStale) this.#reload()
  }

  /**
   * Whether another process committed a newer state than the one in memory. Always `false` for the holder of the guard.
   */
  get isStale(): boolean {
    if (this.#guarded || this.#guard === undefined) return false
    return newestGeneration(this.device) !== this.#newest.superblock.generation
  }

  /** Runs `work` as one change of the latest state, while no other process changes the store. */
  change<T>(work: () => T): T {
    // A nested change is part of the outer one.
    if (this.#changing) return work()
    this.begin()
    const before = this.changes
    this.#changing = true
    try {
      return work()
    } catch (error) {
      // Half of a change must not be committed. The committed state stays readable.
      if (this.changes !== before) this.#failure ??= error
      throw error
    } finally {
      this.#changing = false
      if (this.#failure === undefined) this.nodes.relieve()
    }
  }

  begin(): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.readOnly) throw new StoreError('STORE_READ_ONLY', `${this.device.name} is open read-only`)
    if (this.space.isShort && this.space.pinned > 0) this.commitNow()
    if (this.#guarded && this.#mustYield()) this.commitNow()
    const end = Date.now() + this.#patience
    while (!this.#tryGuard()) {
      if (Date.now() >= end) throw this.#locked()
      Atomics.wait(NEVER, 0, 0, WAIT)
    }
    try {
      this.space.reserve()
    } catch (error) {
      this.#rest()
      throw error
    }
    if (!this.#dirty) this.#dirtySince = performance.now()
    this.#dirty = true
    this.#timer ??= this.#commitInTime()
  }

  /** Like `change`, but waits without blocking this thread. */
  async changeLater<T>(work: () => T): Promise<T> {
    await this.#waitForGuard()
    return this.change(work)
  }

  /** Runs `work` with the guard held, so it sees a state that no other process changes. */
  async guarded<T>(work: () => Promise<T>): Promise<T> {
    await this.#waitForGuard()
    this.#keepers++
    try {
      return await work()
    } finally {
      this.#keepers--
      this.#rest()
    }
  }

  /**
   * Resolves when all earlier changes are on disk. If it fails, it is retried later, and other processes wait until
   * then.
   */
  async commit(): Promise<void> {
    try {
      await this.#commit()
    } catch (error) {
      this.#tryAgain()
      throw error
    }
  }

  commitNow(): void {
    try {
      this.#commitNow()
    } catch (error) {
      this.#tryAgain()
      throw error
    }
  }

  async #commit(): Promise<void> {
    await this.#committing
    const sealed = this.#dirty ? this.#seal() : this.#newest
    if (sealed === this.#durable) return this.#rest()
    const work = this.#flushLater(sealed).finally(() => {
      if (this.#committing === work) this.#committing = undefined
    })
    this.#committing = work
    await work
    this.#rest()
  }

  #commitNow(): void {
    const sealed = this.#dirty ? this.#seal() : this.#newest
    if (sealed === this.#durable) return this.#rest()
    this.device.flush()
    this.#writeSuperblock(sealed)
    this.device.flush()
    this.#setDurable(sealed)
    this.#rest()
  }

  async close(): Promise<void> {
    try {
      if (this.#failure === undefined) await this.commit()
    } finally {
      this.#closed = true
      clearTimeout(this.#timer)
      if (this.#guarded) this.#guard?.release()
      this.#guarded = false
      this.device.close()
    }
  }

  /** The last committed state. Use `hold` to keep its blocks unchanged. */
  get committed(): { readonly superblock: Superblock; readonly slot: number } {
    return this.#durable
  }

  /**
   * Keeps this process from overwriting blocks that the committed state reaches, until the returned function is called.
   */
  hold(): () => void {
    this.#holders++
    return () => {
      this.#holders--
    }
  }

  /** Whether this process had a whole turn and another one waits. Checks at most every `LOOK_FOR_OTHERS` ms. */
  #mustYield(): boolean {
    const time = performance.now()
    if (time < this.#lookAt) return false
    this.#lookAt = time + LOOK_FOR_OTHERS
    return this.#guard?.isWanted() === true
  }

  /** Commits when another process waits, and after `LATEST_COMMIT` ms at the latest. */
  #commitInTime(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = undefined
      if (performance.now() - this.#dirtySince < LATEST_COMMIT && this.#guard?.isWanted() !== true) {
        this.#timer = this.#commitInTime()
      } else {
        this.#commitQuietly()
      }
    }, LOOK_FOR_OTHERS)
  }

  #commitQuietly(): void {
    void this.commit().catch(() => undefined)
  }

  /** Schedules another commit. The timer alone does not keep the process alive. */
  #tryAgain(): void {
    if (this.#closed) return
    if (this.#failure !== undefined) return this.#letGo()
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#commitQuietly()
    }, LATEST_COMMIT).unref()
  }

  /**
   * Drops a half-made change, which must never be committed. Returns to the last committed state, and lets other
   * processes in.
   */
  #letGo(): void {
    if (!this.#guarded) return
    this.nodes.clear()
    try {
      this.#reload()
    } finally {
      this.#guarded = false
      this.#guard?.release()
    }
  }

  /** Returns at once if no change can follow. */
  async #waitForGuard(): Promise<void> {
    const end = Date.now() + this.#patience
    while (this.#failure === undefined && !this.readOnly && !this.#tryGuard()) {
      if (Date.now() >= end) throw this.#locked()
      await sleep(WAIT)
    }
  }

  #locked(): StoreError {
    this.#guard?.forgo()
    return locked(this.device.name)
  }

  #seal(): Sealed {
    if (this.#failure !== undefined) throw this.#failure
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const volume of this.#volumes.values()) {
      const record = volume.unsaved()
      if (record !== undefined) this.#volumeTree.set(volumeKey(volume.name), record)
    }
    this.space.save()
    this.nodes.write()
    const superblock: Superblock = {
      store: this.#newest.superblock.store,
      generation: this.generation,
      ...this.space.state,
      nextVolume: this.#nextVolume,
      volumes: this.#volumeTree.root,
      space: this.#spaceTree.root,
    }
    this.generation++
    this.#dirty = false
    this.#newest = { superblock, slot: 1 - this.#durable.slot }
    return this.#newest
  }

  async #flushLater(sealed: Sealed): Promise<void> {
    await this.device.flushLater()
    if (this.#isDurable(sealed)) return
    this.#writeSuperblock(sealed)
    await this.device.flushLater()
    if (!this.#isDurable(sealed)) this.#setDurable(sealed)
  }

  #isDurable({ superblock }: Sealed): boolean {
    return this.#durable.superblock.generation >= superblock.generation
  }

  #writeSuperblock({ superblock, slot }: Sealed): void {
    this.device.write(encodeSuperblock(superblock, this.checksum), slot * BLOCK, true)
  }

  #setDurable(sealed: Sealed): void {
    this.#durable = sealed
    if (this.#holders > 0) return
    this.space.release(sealed.superblock.generation, ({ address, length }) => {
      this.device.discard(address * BLOCK, length * BLOCK)
    })
  }

  /** Releases the guard, unless work is left to commit or a caller still needs the guard. */
  #rest(): void {
    if (this.#dirty || this.#newest !== this.#durable || !this.#guarded || this.#keepers > 0) return
    this.#guard?.release()
    this.#guarded = false
  }

  /** Takes the guard and the latest state. Returns `false` while another process has the guard. */
  #tryGuard(): boolean {
    if (this.#guarded) return true
    if (this.#guard === undefined) return (this.#guarded = true)
    if (!this.#guard.tryAcquire()) return false
    try {
      this.latest()
    } catch (error) {
      this.#guard.release()
      throw error
    }
    this.#lookAt = performance.now() + LONGEST_TURN
    return (this.#guarded = true)
  }

  /** Takes over the state on the device: completely, or not at all if it cannot be read. */
  #reload(): void {
    const found = findSuperblock(this.device, this.checksum)
    if (found.kind !== 'superblock') throw notAStore(this.device.name, found)
    const { superblock } = found
    const volumes = new Tree(this, superblock.volumes)
    const records = [...this.#volumes.values()].map((volume) => {
      const value = volume.opened > 0 ? volumes.get(volumeKey(volume.name)) : undefined
      const record = value && decodeRecord(value)
      return { volume, record: record?.number === volume.number ? record : undefined }
    })
    this.#durable = found
    this.#newest = found
    this.#volumeTree.moveTo(superblock.volumes)
    this.#spaceTree.moveTo(superblock.space)
    this.space = new Space(this.#spaceTree, this.device, superblock)
    this.generation = superblock.generation + 1
    this.#nextVolume = superblock.nextVolume
    for (const { volume, record } of records) {
      if (record !== undefined) {
        volume.becomes(record)
      } else {
        volume.gone = true
        this.#volumes.delete(volume.name)
      }
    }
  }

  #removed(except: ReadonlySet<ByteString>): ByteString | undefined {
    return this.read(() => {
      for (const [key] of this.#volumeTree.range(REMOVED as ByteString, 'S' as ByteString)) {
        if (!except.has(key)) return key
      }
      return undefined
    })
  }

  #reapSlice(key: ByteString): void {
    const value = this.#volumeTree.get(key)
    if (value === undefined) return
    const volume = new Volume('', decodeRecord(value), this)
    const end = performance.now() + SLICE
    try {
      while (performance.now() < end) {
        if (volume.tree.shrink()) continue
        this.#volumeTree.delete(key)
        return
      }
    } finally {
      if (volume.tree.root.address !== 0) this.#volumeTree.set(key, encodeRecord(volume.record))
    }
  }

  #mustBeFree(name: string): void {
    if (this.has(name)) throw new StoreError('NAME_CONFLICT', `volume ${name} already exists`)
  }

  #existing(name: string): Volume {
    const volume = this.volume(name)
    if (volume === undefined) throw new StoreError('LAYER_NOT_FOUND', `no such volume: ${name}`)
    return volume
  }
}

function volumeKey(name: string): ByteString {
  return (VOLUME + name) as ByteString
}

function removedKey(number: number): ByteString {
  return (REMOVED + u48(number)) as ByteString
}

function rootDirectory(mode: number): Inode {
  return Inode.made('directory', { mode, links: 2 }, { major: 0, minor: 0 }, now())
}

export function locked(name: string): StoreError {
  return new StoreError('STORE_LOCKED', `another process is changing ${name}`, {
    path: name,
    hint: 'wait until it is done, or end it',
  })
}

function notAStore(
  name: string,
  found: Exclude<ReturnType<typeof findSuperblock>, { kind: 'superblock' }>,
): StoreError {
  switch (found.kind) {
    case 'version':
      return new StoreError('STORE_FOREIGN', `${name} has format version ${found.version}, not 1`, {
        path: name,
        hint: 'open it with the version of this library that made it, or a later one',
      })
    case 'damaged':
      return new StoreError('STORE_CORRUPT', `both superblocks of ${name} are damaged or missing`, {
        path: name,
        hint: 'restore it from a backup, or make a new root',
      })
    default:
      return new StoreError('STORE_FOREIGN', `${name} does not hold layers of this library`, {
        path: name,
        hint: 'move it away, or make a new root',
      })
  }
}
