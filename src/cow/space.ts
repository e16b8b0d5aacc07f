import { systemError } from '../sys/errno.js'
import { isErrno } from '../errors.js'
import { BLOCK, type Address, type BlockDevice, type Run } from './block.js'
import { DamagedBlock } from './damage.js'
import { decodeGroup, encodeGroup, GROUP } from './group.js'
import { u48 } from './key.js'
import type { Tree, TreeSpace } from './tree.js'
import type { ByteString } from '../fs/bytes.js'

interface Group {
  readonly counts: Uint32Array
  /** For each block: 0, or the reason why it is not free although its count is 0. */
  readonly pins: Uint8Array
  /** Blocks that are neither counted, pinned nor ready. */
  free: number
  dirty: boolean
}

interface Pin extends Run {
  readonly generation: number
}

/** Blocks kept free for the nodes that a removal and its commit need. */
const RESERVE = 192
const LOOKED_AT = 8
/** More nodes than one change of a tree needs. */
const NODES_AT_ONCE = 16
/** A group with fewer free blocks is not worth using. */
const WORTHWHILE = 32
/** Blocks kept ready for the nodes of changes and their commit, and how many are made ready at once. */
const READY = 128
const READY_AT_ONCE = 32
const ZEROS = Buffer.alloc(READY_AT_ONCE * BLOCK)
const PINNED = 1
const IS_READY = 2
const KEPT_GROUPS = 4096

export interface SpaceState {
  readonly groups: number
  readonly used: number
}

/**
 * Which blocks are in use, and how many pointers lead to each. The space tree holds the counts, by group. Changes of a
 * transaction stay in memory until `save`.
 */
export class Space implements TreeSpace {
  readonly #tree: Tree
  readonly #device: BlockDevice
  /** Groups that fit on the device. */
  readonly #roomFor: number
  readonly #loaded = new Map<number, Group>()
  readonly #dirty = new Set<number>()
  readonly #reclaimed = new Set<number>()
  /** The groups that nodes and content are allocated from. */
  #nodeGroup = -1
  #contentGroup = -1
  /** Free blocks for nodes that the device surely has room for, and where to look for more in their group. */
  readonly #ready: Address[] = []
  #readyTo = GROUP
  #isFull = false
  #pins: Pin[] = []
  #pinned = 0
  #scan = 0
  #groups: number
  #used: number

  constructor(tree: Tree, device: BlockDevice, state: SpaceState) {
    this.#tree = tree
    this.#device = device
    this.#roomFor = Math.floor(device.capacity / GROUP)
    this.#groups = state.groups
    this.#used = state.used
  }

  get state(): SpaceState {
    return { groups: this.#groups, used: this.#used }
  }

  get dirty(): boolean {
    return this.#dirty.size > 0
  }

  /** Blocks that can still be allocated; `Infinity` if the device grows. */
  get free(): number {
    return this.#roomFor * GROUP - this.#used - this.#pinned
  }

  /** Whether the remaining space is reserved for removals. */
  get isShort(): boolean {
    return this.#isFull || this.free <= RESERVE
  }

  /**
   * Call before a change. Ensures that its nodes, and those of its commit, can be written even if the underlying disk
   * is full. Otherwise `isShort` becomes true, and changes that need space must not be made.
   */
  reserve(): void {
    this.#isFull = false
    try {
      this.#device.makeRoom?.()
      this.#makeReady(READY)
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error
      this.#isFull = true
    }
  }

  /** Blocks that a commit would free. */
  get pinned(): number {
    return this.#pinned
  }

  count(address: Address): number {
    return this.#group(address).counts[address % GROUP] as number
  }

  /**
   * Ensures that the next nodes can be allocated without reading the space tree, which may be the tree being changed.
   */
  prepare(): void {
    if (this.#ready.length < NODES_AT_ONCE) this.#makeReady(NODES_AT_ONCE)
  }

  /** Allocates a block for a node. Throws `ENOSPC` if none is free. */
  allocateNode(): Address {
    this.prepare()
    const address = this.#ready.shift() as Address
    const group = this.#group(address)
    group.pins[address % GROUP] = 0
    group.counts[address % GROUP] = 1
    this.#used++
    this.#changed(address, group)
    return address
  }

  /** Allocates a run of up to `wanted` blocks for content. Throws `ENOSPC` if none is free. */
  allocate(wanted: number): Run {
    if (this.isShort) throw noSpace()
    for (;;) {
      const run = this.#contentGroup < 0 ? undefined : this.#take(this.#contentGroup, wanted)
      if (run !== undefined) return run
      this.#contentGroup = this.#nextGroup()
    }
  }

  /** Takes back a run that could not be written. The next allocation uses another group. */
  refuse({ address, length }: Run): void {
    this.giveBack(address, length)
    this.#contentGroup = -1
  }

  /** Adds one to the count of each block. */
  increment(address: Address, length = 1): void {
    for (let at = address; at < address + length; at++) {
      const group = this.#group(at)
      const count = group.counts[at % GROUP] as number
      if (count === 0) throw new DamagedBlock(this.#device.name, at, 'in use, but counted as free')
      group.counts[at % GROUP] = count + 1
      this.#changed(at, group)
    }
  }

  /**
   * Subtracts one from the count of a block. A block with count 0 is free once `generation` is durable.
   * @returns the remaining count
   */
  decrement(address: Address, generation: number): number {
    const group = this.#group(address)
    const at = address % GROUP
    const count = group.counts[at] as number
    if (count === 0) throw new DamagedBlock(this.#device.name, address, 'in use, but counted as free')
    group.counts[at] = count - 1
    this.#changed(address, group)
    if (count === 1) this.#pin(address, group, generation)
    return count - 1
  }

  /** Frees blocks that this transaction allocated and that nothing points to yet. */
  giveBack(address: Address, length = 1): void {
    for (let at = address; at < address + length; at++) {
      const group = this.#group(at)
      group.counts[at % GROUP] = 0
      group.free++
      this.#used--
      this.#changed(at, group)
    }
  }

  /** Frees the blocks pinned up to this generation, since no durable state reaches them. Calls `freed` for each run. */
  release(generation: number, freed: (run: Run) => void): void {
    const waiting: Pin[] = []
    for (const pin of this.#pins) {
      if (pin.generation > generation) {
        waiting.push(pin)
        continue
      }
      for (let at = pin.address; at < pin.address + pin.length; at++) this.#unpin(at)
      freed(pin)
    }
    this.#pins = waiting
  }

  /**
   * Writes the changed counts to the space tree. This changes the counts of the tree's own nodes, so it repeats until
   * nothing changes.
   */
  save(): void {
    while (this.#dirty.size > 0) {
      for (const index of [...this.#dirty].toSorted((a, b) => a - b)) {
        const group = this.#loaded.get(index) as Group
        group.dirty = false
        this.#dirty.delete(index)
        this.#tree.set(u48(index) as ByteString, encodeGroup(group.counts))
      }
    }
  }

  /** All counts in the space tree, group by group. */
  *saved(): Generator<{ readonly index: number; readonly counts: Uint32Array }> {
    for (let index = 0; index < this.#groups; index++) yield { index, counts: this.#read(index) }
  }

  #take(index: number, wanted: number): Run | undefined {
    const group = this.#groupAt(index)
    if (group.free === 0) return undefined
    const { counts, pins } = group
    const isFree = (at: number): boolean => counts[at] === 0 && pins[at] === 0
    let start = 0
    while (!isFree(start)) start++
    let end = start
    while (end < GROUP && end - start < wanted && isFree(end)) counts[end++] = 1
    const run = { address: index * GROUP + start, length: end - start }
    group.free -= run.length
    this.#used += run.length
    this.#changed(run.address, group)
    return run
  }

  /** Chooses another group to allocate content from. */
  #nextGroup(): number {
    const found = this.#roomyGroup() ?? this.#newGroup()
    if (found !== undefined) return found
    for (let index = 0; index < this.#groups; index++) if (this.#groupAt(index).free > 0) return index
    throw noSpace()
  }

  #makeReady(wanted: number): void {
    while (this.#ready.length < wanted) {
      if (this.#readyTo === GROUP) {
        this.#nodeGroup = this.#roomyGroup() ?? this.#newGroup() ?? this.#anyGroupForNodes()
        this.#readyTo = 0
      }
      this.#readyMore()
    }
  }

  /**
   * Makes more blocks ready. Writes zeros to them, unless the device has `makeRoom`, so that a lack of space shows now.
   */
  #readyMore(): void {
    const group = this.#groupAt(this.#nodeGroup)
    const { counts, pins } = group
    const end = Math.min(GROUP, this.#readyTo + READY_AT_ONCE)
    for (let at = this.#readyTo; at < end;) {
      const start = at
      while (at < end && counts[at] === 0 && pins[at] === 0) at++
      const address = this.#nodeGroup * GROUP + start
      if (this.#device.makeRoom === undefined) {
        this.#device.write(ZEROS.subarray(0, (at - start) * BLOCK), address * BLOCK)
      }
      for (let index = start; index < at; index++) {
        pins[index] = IS_READY
        group.free--
        this.#ready.push(this.#nodeGroup * GROUP + index)
      }
      this.#readyTo = ++at
    }
    this.#readyTo = end
  }

  #anyGroupForNodes(): number {
    for (let index = 0; index < this.#groups; index++) {
      if (this.#groupAt(index).free >= NODES_AT_ONCE) return index
    }
    throw noSpace()
  }

  #newGroup(): number | undefined {
    return this.#groups < this.#roomFor ? this.#groups++ : undefined
  }

  /**
   * Finds a group with enough free blocks. Prefers groups where blocks were freed, then scans a few groups at a time
   * for older free space.
   */
  #roomyGroup(): number | undefined {
    for (const index of this.#reclaimed) {
      this.#reclaimed.delete(index)
      if (this.#isRoomy(index)) return index
    }
    if (this.#groups * GROUP - this.#used - this.#pinned < this.#groups * WORTHWHILE) return undefined
    for (let looked = 0; looked < Math.min(LOOKED_AT, this.#groups); looked++) {
      const index = this.#scan++ % this.#groups
      if (this.#isRoomy(index)) return index
    }
    return undefined
  }

  #isRoomy(index: number): boolean {
    return !this.#isTaken(index) && this.#groupAt(index).free >= WORTHWHILE
  }

  #isTaken(index: number): boolean {
    return index === this.#nodeGroup || index === this.#contentGroup
  }

  #pin(address: Address, group: Group, generation: number): void {
    group.pins[address % GROUP] = PINNED
    this.#pinned++
    this.#used--
    const last = this.#pins.at(-1)
    if (last?.generation === generation && last.address + last.length === address) {
      this.#pins[this.#pins.length - 1] = { ...last, length: last.length + 1 }
    } else {
      this.#pins.push({ address, length: 1, generation })
    }
  }

  #unpin(address: Address): void {
    const group = this.#group(address)
    group.pins[address % GROUP] = 0
    group.free++
    this.#pinned--
    this.#reclaimed.add(Math.floor(address / GROUP))
  }

  #changed(address: Address, group: Group): void {
    if (group.dirty) return
    group.dirty = true
    this.#dirty.add(Math.floor(address / GROUP))
  }

  #group(address: Address): Group {
    return this.#groupAt(Math.floor(address / GROUP))
  }

  #groupAt(index: number): Group {
    const loaded = this.#loaded.get(index)
    if (loaded !== undefined) return loaded
    const counts = this.#read(index)
    const group: Group = { counts, pins: new Uint8Array(GROUP), free: freeIn(counts), dirty: false }
    if (this.#loaded.size >= KEPT_GROUPS) this.#evict()
    this.#loaded.set(index, group)
    return group
  }

  #read(index: number): Uint32Array {
    const item = this.#tree.get(u48(index) as ByteString)
    if (item === undefined) return new Uint32Array(GROUP)
    const counts = decodeGroup(item)
    if (counts !== undefined) return counts
    throw new DamagedBlock(
      this.#device.name,
      this.#tree.root.address,
      `the counts of group ${index} are malformed`,
    )
  }

  #evict(): void {
    for (const [index, { dirty, pins }] of this.#loaded) {
      if (dirty || this.#isTaken(index) || pins.some((pin) => pin !== 0)) continue
      this.#loaded.delete(index)
      if (this.#loaded.size < KEPT_GROUPS / 2) return
    }
  }
}

function freeIn(counts: Uint32Array): number {
  let free = 0
  for (const count of counts) if (count === 0) free++
  return free
}

function noSpace(): Error {
  return systemError('ENOSPC', 'write')
}
