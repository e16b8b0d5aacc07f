import { BLOCK, type Address, type BlockDevice } from './block.js'
import type { Checksum } from './checksum.js'
import { DamagedBlock } from './damage.js'
import { decodeNode, type Node, type Pointer } from './node.js'

/** Most nodes written with one call. */
const RUN = 64
/** The least number of nodes to keep, whatever the memory limit. */
const FEWEST = 16
/** Estimated bytes of a node in memory: its block, a copy of its keys, and heap overhead. */
const WEIGHT = 2 * BLOCK
/** The share of kept nodes that may be changed ones. Their values have memory of their own, so they take more. */
const CHANGED = 1 / 4
const scratch = Buffer.allocUnsafeSlow(RUN * BLOCK)

/**
 * The nodes in memory. Changed nodes stay until they are written. Other nodes are evicted if there are too many and
 * they were not used recently.
 */
export class Nodes {
  readonly #device: BlockDevice
  readonly #checksum: Checksum
  /** The number of nodes to keep. */
  #limit: number
  #young = new Map<Address, Node>()
  #old = new Map<Address, Node>()
  readonly #dirty = new Map<Address, Node>()

  /** @param bytes of memory for the nodes */
  constructor(device: BlockDevice, checksum: Checksum, bytes: number) {
    this.#device = device
    this.#checksum = checksum
    this.#limit = limitOf(bytes)
  }

  /** How many nodes are cached. */
  get kept(): number {
    return this.#young.size + this.#old.size
  }

  /** Sets a new memory limit in bytes. */
  keep(bytes: number): void {
    this.#limit = limitOf(bytes)
    if (this.kept > this.#limit) this.#old = new Map()
    if (this.kept > this.#limit) this.#young = new Map()
  }

  /** Returns the cached node, or reads it. Throws `DamagedBlock`. */
  load(pointer: Pointer): Node {
    const { address, generation } = pointer
    const kept = this.#dirty.get(address) ?? this.#young.get(address) ?? this.#old.get(address)
    if (kept?.generation !== generation) return this.#keep(this.read(pointer))
    if (!this.#young.has(address)) {
      this.#old.delete(address)
      this.#keep(kept)
    }
    return kept
  }

  damaged({ address }: Pointer, what: string): DamagedBlock {
    return new DamagedBlock(this.#device.name, address, what)
  }

  /** Reads a node from the device, bypassing the cache. Throws `DamagedBlock`. */
  read(pointer: Pointer): Node {
    const block = scratch.subarray(0, BLOCK)
    this.#device.read(block, pointer.address * BLOCK)
    const node = decodeNode(block, pointer, this.#checksum)
    if (typeof node === 'string') throw this.damaged(pointer, node)
    return node
  }

  /** Marks a node as new or changed. */
  changed(node: Node): void {
    if (node.dirty) return
    node.dirty = true
    this.#dirty.set(node.address, node)
    this.#keep(node)
  }

  /** Drops a node, including its changes, because nothing points to it any more. */
  forget({ address }: Pointer): void {
    const node = this.#dirty.get(address)
    if (node !== undefined) node.dirty = false
    this.#dirty.delete(address)
    this.#young.delete(address)
    this.#old.delete(address)
  }

  /**
   * Writes the changed nodes if they take too much memory. This may happen before the commit, since no committed state
   * reaches them.
   */
  relieve(): void {
    if (this.#dirty.size > this.#limit * CHANGED) this.write()
  }

  /** Writes all changed nodes. */
  write(): void {
    const nodes = [...this.#dirty.values()].toSorted((a, b) => a.address - b.address)
    for (let at = 0; at < nodes.length;) {
      const run = runFrom(nodes, at)
      const bytes = scratch.subarray(0, run.length * BLOCK)
      for (const [index, node] of run.entries())
        node.encode(bytes.subarray(index * BLOCK, (index + 1) * BLOCK), this.#checksum)
      this.#device.write(bytes, (nodes[at] as Node).address * BLOCK, true)
      for (const node of run) {
        node.dirty = false
        this.#dirty.delete(node.address)
      }
      at += run.length
    }
  }

  /** Drops all nodes, including changes. */
  clear(): void {
    this.#young.clear()
    this.#old.clear()
    this.#dirty.clear()
  }

  #keep(node: Node): Node {
    if (this.#young.size >= this.#limit / 2) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(node.address, node)
    return node
  }
}

function limitOf(bytes: number): number {
  return Math.max(FEWEST, bytes / WEIGHT)
}

function runFrom(nodes: readonly Node[], start: number): Node[] {
  const first = nodes[start] as Node
  let end = start + 1
  while (end - start < RUN && nodes[end]?.address === first.address + end - start) end++
  return nodes.slice(start, end)
}
