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
  /** Of each block, 0 or why it is not free though it has no count. */
  readonly pins: Uint8Array
  /** Neither counted, pinned nor ready. */
  free: number
  dirty: boolean
}

interface Pin extends Run {
  readonly generation: number
}

/** Left for the nodes that a removal and a commit need, where room is short. */
const RESERVE = 192
const LOOKED_AT = 8
/** More nodes than one change of a tree takes. */
const NODES_AT_ONCE = 16
/** Less in a group is not worth going there. */
const WORTHWHILE = 32
/** Blocks that are kept ready for the nodes of changes and their commit, and how many are made ready at once. */
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
 * Which blocks are in use, and by how many. Counts are kept in the space tree, by group; what a transaction changes is in
 * memory until `save`.
 */
export class Space implements TreeSpace {
  readonly #tree: Tree
  readonly #device: BlockDevice
  /** Groups that the device has room for. */
  readonly #roomFor: number
  readonly #loaded = new Map<number, Group>()
  readonly #dirty = new Set<number>()
  readonly #reclaimed = new Set<number>()
  /** Groups that nodes and content are taken from. */
  #nodeGroup = -1
  #contentGroup = -1
  /** Free blocks for nodes that are surely there on the device, and the place in their group where more are looked for. */
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

  /** Blocks that can still be taken; `Infinity` where the device grows. */
  get free(): number {
    return this.#roomFor * GROUP - this.#used - this.#pinned
  }

  /** What is left is kept for removals. */
  get isShort(): boolean {
    return this.#isFull || this.free <= RESERVE
  }

  /**
   * Before a change: makes sure that its nodes, and those of its commit, can be written even if the disk below is full. If
   * they cannot, changes that take room must not be made any more.
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

  /** Blocks that a commit would give back. */
  get pinned(): number {
    return this.#pinned
  }

  count(address: Address): number {
    return this.#group(address).counts[address % GROUP] as number
  }

  /**
   * Makes sure that the next nodes can be taken without looking at the space tree, which may be the one that is being
   * changed.
   */
  prepare(): void {
    if (this.#ready.length < NODES_AT_ONCE) this.#makeReady(NODES_AT_ONCE)
  }

  /** Takes a free block for a node. `ENOSPC` when there is none. */
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

  /** Takes free blocks in a row for content, as many as there are up to `wanted`. `ENOSPC` when there are none. */
  allocate(wanted: number): Run {
    if (this.isShort) throw noSpace()
    for (;;) {
      const run = this.#contentGroup < 0 ? undefined : this.#take(this.#contentGroup, wanted)
      if (run !== undefined) return run
      this.#contentGroup = this.#nextGroup()
    }
  }

  /** What was allocated could not be written: takes it back, and looks for other places. */
  refuse({ address, length }: Run): void {
    this.giveBack(address, length)
    this.#contentGroup = -1
  }

  /** One user more for each of the blocks. */
  increment(address: Address, length = 1): void {
    for (let at = address; at < address + length; at++) {
      const group = this.#group(at)
      const count = group.counts[at % GROUP] as number
      if (count === 0) throw new DamagedBlock(this.#device.name, at, 'it is in use, and is counted as free')
      group.counts[at % GROUP] = count + 1
      this.#changed(at, group)
    }
  }

  /**
   * One user less for a block, in a transaction; without any it is free when that is durable.
   * @returns users that are left
   */
  decrement(address: Address, generation: number): number {
    const group = this.#group(address)
    const at = address % GROUP
    const count = group.counts[at] as number
    if (count === 0)
      throw new DamagedBlock(this.#device.name, address, 'it is in use, and is counted as free')
    group.counts[at] = count - 1
    this.#changed(address, group)
    if (count === 1) this.#pin(address, group, generation)
    return count - 1
  }

  /** Gives back what this transaction took and nobody has seen. */
  giveBack(address: Address, length = 1): void {
    for (let at = address; at < address + length; at++) {
      const group = this.#group(at)
      group.counts[at % GROUP] = 0
      group.free++
      this.#used--
      this.#changed(at, group)
    }
  }

  /** What was freed up to this generation is free: no durable state reaches it. Told run by run. */
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

  /** Brings the counts into the space tree, whose own nodes are counted there too: until nothing changes any more. */
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

  /** All counts as they are on the device, group by group. */
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

  /** Another group to take content from. */
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

  /** Free blocks are written once, so that it shows now whether there is room for them. */
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

  /** Where something was freed; groups that were half empty before this store was opened are found little by little. */
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
      `the counts of group ${index} are none`,
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
