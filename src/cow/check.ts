import { setImmediate } from 'node:timers/promises'
import type { ByteString } from '../fs/bytes.js'
import { BLOCK, type Address } from './block.js'
import { DamagedBlock } from './damage.js'
import { contentOf, sumOf } from './extent.js'
import { decodeGroup, GROUP } from './group.js'
import { numberAt } from './key.js'
import type { Node, Pointer } from './node.js'
import type { CowStore } from './store.js'
import { damagedCopies, SUPERBLOCKS, type Superblock } from './superblock.js'
import { decodeRecord } from './volume.js'

/** Something that is not as it should be. */
export interface Finding {
  readonly block: Address
  readonly what: string
  /** The volume in which it was met first. */
  readonly volume?: string
}

const SLICE = 8
const VOLUME = 'L'

/**
 * Walks all that the last committed state reaches, and tells all that is damaged: nodes, content, counts. Nothing is taken
 * from memory. Reads every block that is in use.
 */
export async function checkStore(store: CowStore, signal?: AbortSignal): Promise<Finding[]> {
  await store.commit()
  const resume = store.hold()
  try {
    const walk = new Walk(store)
    let sliceEnd = performance.now() + SLICE
    for (const _ of walk.steps()) {
      if (performance.now() < sliceEnd) continue
      await setImmediate()
      signal?.throwIfAborted()
      sliceEnd = performance.now() + SLICE
    }
    return walk.findings
  } finally {
    resume()
  }
}

class Walk {
  readonly findings: Finding[] = []
  readonly #store: CowStore
  readonly #superblock: Superblock
  readonly #slot: number
  readonly #counts = new Map<number, Uint32Array>()
  readonly #saved = new Map<number, Uint32Array>()
  #volume: string | undefined

  constructor(store: CowStore) {
    this.#store = store
    this.#superblock = store.committed.superblock
    this.#slot = store.committed.slot
  }

  /** Work in small pieces. */
  *steps(): Generator<void> {
    const { device, checksum } = this.#store
    const copies = damagedCopies(device, this.#slot, checksum)
    if (copies > 0) this.#found(this.#slot, `${copies} of the 8 copies of the superblock are damaged`)
    for (let slot = 0; slot < SUPERBLOCKS; slot++) this.#use(slot)
    const roots: { name: string; root: Pointer }[] = []
    yield* this.#tree(this.#superblock.volumes, (key, value) => {
      roots.push({ name: key.startsWith(VOLUME) ? key.slice(1) : '', root: decodeRecord(value).root })
    })
    yield* this.#tree(this.#superblock.space, (key, value, { address }) => {
      const counts = decodeGroup(value)
      if (counts === undefined) this.#found(address, 'the counts of a group are none')
      else this.#saved.set(numberAt(key, 0), counts)
    })
    for (const { name, root } of roots) {
      this.#volume = name
      yield* this.#tree(root, (key, value) => this.#content(key, value))
    }
    this.#volume = undefined
    yield* this.#compareCounts()
  }

  *#tree(
    pointer: Pointer,
    leafItem: (key: ByteString, value: Buffer, leaf: Node) => void,
    level?: number,
  ): Generator<void> {
    if (pointer.address === 0 || this.#use(pointer.address) > 1) return
    const node = this.#read(pointer)
    if (node === undefined) return
    if (level !== undefined && node.level !== level) this.#found(node.address, 'it is of another level')
    for (const [at, key] of node.keys.entries()) {
      if (at > 0 && (node.keys[at - 1] as ByteString) >= key) {
        this.#found(node.address, 'its keys are in disorder')
      }
      const child = node.children[at]
      if (child === undefined) leafItem(key, node.value(at), node)
      else yield* this.#tree(child, leafItem, node.level - 1)
      yield
    }
  }

  #read(pointer: Pointer): Node | undefined {
    try {
      return this.#store.nodes.read(pointer)
    } catch (error) {
      if (!(error instanceof DamagedBlock)) throw error
      this.#found(pointer.address, error.what)
      return undefined
    }
  }

  #content(key: ByteString, value: Buffer): void {
    const run = contentOf(key, value)
    if (run === undefined) return
    const { device, checksum } = this.#store
    const bytes = Buffer.allocUnsafe(run.length * BLOCK)
    device.read(bytes, run.address * BLOCK)
    for (let at = 0; at < run.length; at++) {
      this.#use(run.address + at)
      if (checksum(bytes.subarray(at * BLOCK, (at + 1) * BLOCK)) === sumOf(value, at)) continue
      this.#found(run.address + at, 'its checksum is another one')
    }
  }

  *#compareCounts(): Generator<void> {
    const none = new Uint32Array(GROUP)
    let used = 0
    for (const index of new Set([...this.#counts.keys(), ...this.#saved.keys()])) {
      const [ours, theirs] = [this.#counts.get(index) ?? none, this.#saved.get(index) ?? none]
      for (let at = 0; at < GROUP; at++) {
        const [found, saved] = [ours[at] as number, theirs[at] as number]
        if (saved > 0) used++
        if (found === saved) continue
        this.#found(index * GROUP + at, `it has ${found} users, and is said to have ${saved}`)
      }
      yield
    }
    if (used !== this.#superblock.used) {
      this.#found(0, `${used} blocks are in use, and ${this.#superblock.used} are said to be`)
    }
  }

  /** How many were met that lead to this block. */
  #use(address: Address): number {
    const index = Math.floor(address / GROUP)
    let counts = this.#counts.get(index)
    if (counts === undefined) this.#counts.set(index, (counts = new Uint32Array(GROUP)))
    const count = (counts[address % GROUP] as number) + 1
    counts[address % GROUP] = count
    return count
  }

  #found(block: Address, what: string): void {
    const volume = this.#volume
    this.findings.push({ block, what, ...(volume !== undefined && { volume }) })
  }
}
