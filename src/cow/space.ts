import { systemError } from '../sys/errno.js'
import type { Address } from './block.js'
import { DamagedBlock } from './damage.js'
import { decodeGroup, encodeGroup, GROUP } from './group.js'
import { u48 } from './key.js'
import type { Tree } from './tree.js'
import type { ByteString } from '../fs/bytes.js'

/** Blocks in a row. */
export interface Run {
  readonly address: Address
  readonly length: number
}

/** Nodes are kept near one another, and so is content. */
export type Purpose = 'node' | 'content'

interface Group {
  readonly counts: Uint32Array
  /** Pinned blocks are 1. */
  pins: Uint8Array | undefined
  /** Neither counted nor pinned. */
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
const KEPT_GROUPS = 4096

export interface SpaceState {
  readonly groups: number
  readonly used: number
}

/**
 * Which blocks are in use, and by how many. Counts are kept in the space tree, by group; what a transaction changes is in
 * memory until `save`.
 */
export class Space {
  readonly #tree: Tree
  readonly #device: string
  /** Groups that the device has room for. */
  readonly #roomFor: number
  readonly #loaded = new Map<number, Group>()
  readonly #dirty = new Set<number>()
  readonly #reclaimed = new Set<number>()
  readonly #cursors: Record<Purpose, number> = { node: -1, content: -1 }
  #pins: Pin[] = []
  #pinned = 0
  #scan = 0
  #groups: number
  #used: number

  constructor(tree: Tree, device: { readonly name: string; readonly capacity: number }, state: SpaceState) {
    this.#tree = tree
    this.#device = device.name
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
    return this.free <= RESERVE
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
    const index = this.#cursors.node
    if (index >= 0 && this.#groupAt(index).free >= NODES_AT_ONCE) return
    this.#cursors.node = this.#nextGroup('node')
  }

  /** Takes free blocks in a row, as many as there are up to `wanted`. `ENOSPC` when there are none. */
  allocate(purpose: Purpose, wanted: number): Run {
    if (purpose === 'content' && this.isShort) throw noSpace()
    for (;;) {
      const index = this.#cursors[purpose]
      const run = index < 0 ? undefined : this.#take(index, wanted)
      if (run !== undefined) return run
      this.#cursors[purpose] = this.#nextGroup(purpose)
    }
  }

  /** One user more for each of the blocks. */
  increment(address: Address, length = 1): void {
    for (let at = address; at < address + length; at++) {
      const group = this.#group(at)
      const count = group.counts[at % GROUP] as number
      if (count === 0) throw new DamagedBlock(this.#device, at, 'it is in use, and is counted as free')
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
    if (count === 0) throw new DamagedBlock(this.#device, address, 'it is in use, and is counted as free')
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
    const isFree = (at: number): boolean => counts[at] === 0 && pins?.[at] !== 1
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

  /** Another group to take from: where something was freed, a new one, or any that has room. */
  #nextGroup(purpose: Purpose): number {
    const taken = this.#cursors[purpose === 'node' ? 'content' : 'node']
    for (const index of this.#reclaimed) {
      this.#reclaimed.delete(index)
      if (index !== taken && this.#groupAt(index).free >= WORTHWHILE) return index
    }
    const found = this.#lookAround(taken)
    if (found !== undefined) return found
    if (this.#groups < this.#roomFor) return this.#groups++
    const enough = purpose === 'node' ? NODES_AT_ONCE : 1
    for (let index = 0; index < this.#groups; index++) {
      if (this.#groupAt(index).free >= enough) return index
    }
    throw noSpace()
  }

  /** Groups that were half empty before this store was opened are found little by little. */
  #lookAround(taken: number): number | undefined {
    if (this.#groups * GROUP - this.#used - this.#pinned < this.#groups * WORTHWHILE) return undefined
    for (let looked = 0; looked < Math.min(LOOKED_AT, this.#groups); looked++) {
      const index = this.#scan++ % this.#groups
      if (index !== taken && this.#groupAt(index).free >= WORTHWHILE) return index
    }
    return undefined
  }

  #pin(address: Address, group: Group, generation: number): void {
    group.pins ??= new Uint8Array(GROUP)
    group.pins[address % GROUP] = 1
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
    if (group.pins !== undefined) group.pins[address % GROUP] = 0
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
    const group: Group = { counts, pins: undefined, free: freeIn(counts), dirty: false }
    if (this.#loaded.size >= KEPT_GROUPS) this.#evict()
    this.#loaded.set(index, group)
    return group
  }

  #read(index: number): Uint32Array {
    const item = this.#tree.get(u48(index) as ByteString)
    if (item === undefined) return new Uint32Array(GROUP)
    const counts = decodeGroup(item)
    if (counts !== undefined) return counts
    throw new DamagedBlock(this.#device, this.#tree.root.address, `the counts of group ${index} are none`)
  }

  #evict(): void {
    const cursors = Object.values(this.#cursors)
    for (const [index, { dirty, pins }] of this.#loaded) {
      if (dirty || pins?.includes(1) === true || cursors.includes(index)) continue
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
