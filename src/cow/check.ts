import { setImmediate } from 'node:timers/promises'
import type { ByteString } from '../fs/bytes.js'
import { BLOCK, type Address, type Run } from './block.js'
import { DamagedBlock } from './damage.js'
import { contentOf, sumOf } from './extent.js'
import { decodeGroup, GROUP } from './group.js'
import { numberAt } from './key.js'
import type { Node, Pointer } from './node.js'
import type { CowStore } from './store.js'
import { damagedCopies, SUPERBLOCKS, type Superblock } from './superblock.js'
import { decodeRecord } from './volume.js'

/** A problem that `checkStore` found. */
export interface Finding {
  readonly block: Address
  readonly what: string
  /** The volume in which the check first met it. */
  readonly volume?: string
}

const SLICE = 8
const VOLUME = 'L'
/** Walks without the guard, while other processes may commit. */
const FREE_WALKS = 3
/** The longest walk that may block other processes, in ms. */
const LONGEST_GUARDED = 500

/**
 * Reads every block that the last committed state reaches, from the device. Returns all damage in nodes, content and
 * counts.
 *
 * Other processes may commit during the walk, and reuse blocks of the state being walked. Findings count only if that
 * state is still the newest at the end. Otherwise the walk restarts, skipping content that is known to be intact. The
 * last walk holds the guard. In a store too large for that, only damage that two walks met is reported, and counts are
 * not compared.
 */
export async function checkStore(store: CowStore, signal?: AbortSignal): Promise<Finding[]> {
  await store.commit()
  const resume = store.hold()
  try {
    return await consistentFindings(store, signal)
  } finally {
    resume()
  }
}

async function consistentFindings(store: CowStore, signal: AbortSignal | undefined): Promise<Finding[]> {
  const whole = new Map<Address, number>()
  let before: readonly Met[] = []
  for (let walks = 1; ; walks++) {
    store.latest()
    const start = performance.now()
    const found = await walked(new Walk(store, whole), signal)
    if (found.length === 0 || !store.isStale) return found.map(({ finding }) => finding)
    if (walks > FREE_WALKS) return metTwice(before, found)
    if (walks === FREE_WALKS && !store.readOnly && performance.now() - start < LONGEST_GUARDED) break
    before = found
  }
  return store.guarded(async () => {
    const found = await walked(new Walk(store, whole), signal)
    return found.map(({ finding }) => finding)
  })
}

/** Returns the findings that both walks met. A block that both states reach was not rewritten between them. */
function metTwice(before: readonly Met[], now: readonly Met[]): Finding[] {
  const known = new Set(before.map(({ identity }) => identity))
  return now.flatMap(({ identity, finding }) =>
    identity !== undefined && known.has(identity) ? [finding] : [],
  )
}

async function walked(walk: Walk, signal: AbortSignal | undefined): Promise<readonly Met[]> {
  let sliceEnd = performance.now() + SLICE
  for (const _ of walk.steps()) {
    if (performance.now() < sliceEnd) continue
    await setImmediate()
    signal?.throwIfAborted()
    sliceEnd = performance.now() + SLICE
  }
  return walk.met
}

interface Met {
  readonly finding: Finding
  /** The block and its expected content; `undefined` for findings that compare several blocks. */
  readonly identity?: string
}

class Walk {
  readonly met: Met[] = []
  readonly #store: CowStore
  readonly #superblock: Superblock
  readonly #slot: number
  /** Leaves whose content is known to be intact: address to generation. */
  readonly #whole: Map<Address, number>
  readonly #counts = new Map<number, Uint32Array>()
  readonly #saved = new Map<number, Uint32Array>()
  #volume: string | undefined

  constructor(store: CowStore, whole: Map<Address, number>) {
    this.#store = store
    this.#whole = whole
    this.#superblock = store.committed.superblock
    this.#slot = store.committed.slot
  }

  /** Walks in small steps. */
  *steps(): Generator<void> {
    const { device, checksum } = this.#store
    const copies = damagedCopies(device, this.#slot, checksum)
    if (copies > 0) this.#found(this.#slot, `${copies} of the 8 copies of the superblock are damaged`)
    for (let slot = 0; slot < SUPERBLOCKS; slot++) this.#use(slot)
    const roots: { name: string; root: Pointer }[] = []
    yield* this.#tree(this.#superblock.volumes, (leaf) => {
      for (const [at, key] of leaf.keys.entries()) {
        const { root } = decodeRecord(leaf.value(at))
        roots.push({ name: key.startsWith(VOLUME) ? key.slice(1) : '', root })
      }
    })
    yield* this.#tree(this.#superblock.space, (leaf) => {
      for (const [at, key] of leaf.keys.entries()) {
        const counts = decodeGroup(leaf.value(at))
        if (counts === undefined) this.#found(leaf.address, 'the counts of a group are malformed')
        else this.#saved.set(numberAt(key, 0), counts)
      }
    })
    for (const { name, root } of roots) {
      this.#volume = name
      yield* this.#tree(root, (leaf) => this.#contents(leaf))
    }
    this.#volume = undefined
    yield* this.#compareCounts()
  }

  *#tree(pointer: Pointer, leaf: (node: Node) => void, level?: number): Generator<void> {
    if (pointer.address === 0 || this.#use(pointer.address) > 1) return
    const node = this.#read(pointer)
    if (node === undefined) return
    if (level !== undefined && node.level !== level) {
      this.#found(node.address, 'wrong tree level', pointer)
      return
    }
    for (let at = 1; at < node.keys.length; at++) {
      if ((node.keys[at - 1] as ByteString) < (node.keys[at] as ByteString)) continue
      this.#found(node.address, 'keys out of order', pointer)
    }
    if (node.level === 0) leaf(node)
    yield
    for (const child of node.children) yield* this.#tree(child, leaf, node.level - 1)
  }

  #read(pointer: Pointer): Node | undefined {
    try {
      return this.#store.nodes.read(pointer)
    } catch (error) {
      if (!(error instanceof DamagedBlock)) throw error
      this.#found(pointer.address, error.what, pointer)
      return undefined
    }
  }

  #contents(leaf: Node): void {
    const isRead = this.#whole.get(leaf.address) === leaf.generation
    let isWhole = true
    for (const [at, key] of leaf.keys.entries()) {
      const value = leaf.value(at)
      const run = contentOf(key, value)
      if (run === undefined) continue
      for (let block = run.address; block < run.address + run.length; block++) this.#use(block)
      if (!isRead) isWhole = this.#content(run, value, leaf) && isWhole
    }
    if (isWhole) this.#whole.set(leaf.address, leaf.generation)
  }

  #content({ address, length }: Run, value: Buffer, leaf: Node): boolean {
    const { device, checksum } = this.#store
    const bytes = Buffer.allocUnsafe(length * BLOCK)
    device.read(bytes, address * BLOCK)
    let isWhole = true
    for (let at = 0; at < length; at++) {
      if (checksum(bytes.subarray(at * BLOCK, (at + 1) * BLOCK)) === sumOf(value, at)) continue
      this.#found(address + at, 'wrong checksum', leaf)
      isWhole = false
    }
    return isWhole
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
        this.#found(index * GROUP + at, `${found} references, but its count is ${saved}`)
      }
      yield
    }
    if (used !== this.#superblock.used) {
      this.#found(0, `${used} blocks are counted as in use, but the superblock says ${this.#superblock.used}`)
    }
  }

  /** Counts a reference to this block. Returns the number of references so far. */
  #use(address: Address): number {
    const index = Math.floor(address / GROUP)
    let counts = this.#counts.get(index)
    if (counts === undefined) this.#counts.set(index, (counts = new Uint32Array(GROUP)))
    const count = (counts[address % GROUP] as number) + 1
    counts[address % GROUP] = count
    return count
  }

  /** @param from the damaged node, or the node that points to the damaged block; its generation is never reused */
  #found(block: Address, what: string, from?: Pointer): void {
    const volume = this.#volume
    const finding = { block, what, ...(volume !== undefined && { volume }) }
    const identity = from && `${block} ${from.address} ${from.generation} ${what}`
    this.met.push(identity === undefined ? { finding } : { finding, identity })
  }
}
