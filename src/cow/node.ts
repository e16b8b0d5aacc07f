import type { ByteString } from '../fs/bytes.js'
import { BLOCK, type Address } from './block.js'
import type { Checksum } from './checksum.js'

/** The address of a node, and the generation that it must have. */
export interface Pointer {
  readonly address: Address
  readonly generation: number
}

export const NO_NODE: Pointer = { address: 0, generation: 0 }
const POINTER_SIZE = 12

const HEADER = 24
const MAGIC = 0x43
const ITEM = 4
export const CAPACITY = BLOCK - HEADER
/** Most bytes of a key and its value together. */
export const LARGEST_ITEM = 1344

/** The contents of a node's items. */
interface Items {
  readonly keys: ByteString[]
  readonly values: Value[]
  readonly children: Pointer[]
  /** The node's block as on disk. It holds the values that have no Buffer of their own. */
  readonly block: Buffer
}

/**
 * A value, or its offset in the node's block times `PLACE` plus its length. A Buffer takes more memory than most
 * values.
 */
type Value = Buffer | number

const PLACE = 2 * BLOCK
const NOTHING = Buffer.alloc(0)

/** A node in memory: ascending keys, each with its value, or with its child above the leaves. */
export class Node implements Pointer {
  address: Address
  generation: number
  readonly level: number
  readonly keys: ByteString[]
  /** Only above the leaves. */
  readonly children: Pointer[]
  /** Bytes of all items as on disk. */
  size: number
  dirty = false
  /** Only in a leaf. */
  #values: Value[]
  #block: Buffer

  constructor(level: number, place: Pointer, items?: Items) {
    this.level = level
    this.address = place.address
    this.generation = place.generation
    this.keys = items?.keys ?? []
    this.children = items?.children ?? []
    this.#values = items?.values ?? []
    this.#block = items?.block ?? NOTHING
    this.size = 0
    for (let at = 0; at < this.keys.length; at++) this.size += this.itemSize(at)
  }

  /** Returns a node with the same items at another place. Pass `copy` if this node stays in use. */
  moved(place: Pointer, copy: boolean): Node {
    const { keys, children } = this
    const [values, block] = [this.#values, this.#block]
    const items = copy
      ? { keys: [...keys], values: [...values], children: [...children], block }
      : { keys, values, children, block }
    return new Node(this.level, place, items)
  }

  /** Only for a leaf. */
  value(at: number): Buffer {
    const value = this.#values[at] as Value
    if (typeof value !== 'number') return value
    return this.#block.subarray(startOf(value), startOf(value) + lengthOf(value))
  }

  setValue(at: number, value: Buffer): void {
    this.size += value.length - lengthOf(this.#values[at] as Value)
    this.#values[at] = value
  }

  insertItem(at: number, key: ByteString, value: Buffer): void {
    this.keys.splice(at, 0, key)
    this.#values.splice(at, 0, value)
    this.size += this.itemSize(at)
  }

  insertChild(at: number, { keys, address, generation }: Node): void {
    this.keys.splice(at, 0, keys[0] as ByteString)
    this.children.splice(at, 0, { address, generation })
    this.size += this.itemSize(at)
  }

  remove(at: number): void {
    this.size -= this.itemSize(at)
    this.keys.splice(at, 1)
    if (this.level === 0) this.#values.splice(at, 1)
    else this.children.splice(at, 1)
  }

  /**
   * Moves the other node's items, from index `from` on, to the end of this node. Their keys must be higher than this
   * node's keys.
   */
  takeFrom(other: Node, from: number): void {
    const size = other.#sizeFrom(from)
    // Move them as Buffers: offsets would refer to the other node's block.
    for (let at = from; at < other.#values.length; at++) this.#values.push(other.value(at))
    other.#values.splice(from)
    this.keys.push(...other.keys.splice(from))
    this.children.push(...other.children.splice(from))
    this.size += size
    other.size -= size
  }

  itemSize(at: number): number {
    const key = this.keys[at] as ByteString
    return ITEM + key.length + (this.level > 0 ? POINTER_SIZE : lengthOf(this.#values[at] as Value))
  }

  /** The index of the first key that is not below `key`. */
  seek(key: ByteString): number {
    const { keys } = this
    let [low, high] = [0, keys.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((keys[middle] as ByteString) < key) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The index of the child that contains `key`. */
  childAt(key: ByteString): number {
    const at = this.seek(key)
    return at > 0 && this.keys[at] !== key ? at - 1 : at
  }

  /**
   * Encodes the node into a block. Afterwards the node takes less memory, since its values are in one copy of the
   * block.
   */
  encode(block: Buffer, checksum: Checksum): void {
    block.writeUIntLE(this.address, 8, 6)
    block.writeUIntLE(this.generation, 14, 6)
    block[20] = this.level
    block[21] = MAGIC
    block.writeUInt16LE(this.keys.length, 22)
    const values: number[] = []
    let at = HEADER
    for (const [index, key] of this.keys.entries()) {
      const child = this.children[index]
      const value = this.#values[index]
      const length = value === undefined ? POINTER_SIZE : lengthOf(value)
      block.writeUInt16LE(key.length, at)
      block.writeUInt16LE(length, at + 2)
      at += ITEM
      block.write(key, at, 'latin1')
      at += key.length
      if (value === undefined) writePointer(block, at, child as Pointer)
      else {
        if (typeof value !== 'number') block.set(value, at)
        else this.#block.copy(block, at, startOf(value), startOf(value) + length)
        values.push(at * PLACE + length)
      }
      at += length
    }
    block.fill(0, at)
    block.writeBigUInt64LE(checksum(block.subarray(8)), 0)
    if (this.level > 0) return
    this.#values = values
    this.#block = copyOf(block, at)
  }

  #sizeFrom(from: number): number {
    let size = 0
    for (let at = from; at < this.keys.length; at++) size += this.itemSize(at)
    return size
  }
}

function startOf(place: number): number {
  return Math.floor(place / PLACE)
}

function lengthOf(value: Value): number {
  return typeof value === 'number' ? value % PLACE : value.length
}

/** Decodes a node, or returns why the block is not that node. The node does not keep a reference to `block`. */
export function decodeNode(block: Buffer, place: Pointer, checksum: Checksum): Node | string {
  if (block.readBigUInt64LE(0) !== checksum(block.subarray(8))) return 'wrong checksum'
  if (block[21] !== MAGIC || block.readUIntLE(8, 6) !== place.address) return 'not the expected tree node'
  const generation = block.readUIntLE(14, 6)
  if (generation !== place.generation) {
    return `generation ${generation} instead of ${place.generation}`
  }
  const level = block[20] as number
  const keys: ByteString[] = []
  const values: number[] = []
  const children: Pointer[] = []
  let at = HEADER
  for (let count = block.readUInt16LE(22); count > 0; count--) {
    if (at + ITEM > BLOCK) return 'items past the end of the block'
    const valueAt = at + ITEM + block.readUInt16LE(at)
    const end = valueAt + block.readUInt16LE(at + 2)
    if (end > BLOCK || (level > 0 && end - valueAt !== POINTER_SIZE)) return 'an item of wrong size'
    keys.push(block.toString('latin1', at + ITEM, valueAt) as ByteString)
    if (level > 0) children.push(readPointer(block, valueAt))
    else values.push(valueAt * PLACE + end - valueAt)
    at = end
  }
  return new Node(level, place, {
    keys,
    values,
    children,
    block: level > 0 ? NOTHING : copyOf(block, at),
  })
}

function copyOf(block: Buffer, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length)
  copy.set(block.subarray(0, length))
  return copy
}

export function writePointer(buffer: Buffer, at: number, { address, generation }: Pointer): number {
  buffer.writeUIntLE(address, at, 6)
  return buffer.writeUIntLE(generation, at + 6, 6)
}

export function readPointer(buffer: Buffer, at: number): Pointer {
  return { address: buffer.readUIntLE(at, 6), generation: buffer.readUIntLE(at + 6, 6) }
}
