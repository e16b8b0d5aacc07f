import type { ByteString } from '../fs/bytes.js'
import { BLOCK, type Address } from './block.js'
import type { Checksum } from './checksum.js'

/** Where a node is, and which one it must be. */
export interface Pointer {
  readonly address: Address
  readonly generation: number
}

export const NO_NODE: Pointer = { address: 0, generation: 0 }
export const POINTER_SIZE = 12

const HEADER = 24
const MAGIC = 0x43
const ITEM = 4
export const CAPACITY = BLOCK - HEADER
/** Of a key and its value. */
export const LARGEST_ITEM = 1344

/** A node in memory: keys ascending, and beside each its value, or above the leaves its child. */
export class Node implements Pointer {
  address: Address
  generation: number
  readonly level: number
  readonly keys: ByteString[]
  /** Of a leaf. */
  readonly values: Buffer[]
  /** Above the leaves. */
  readonly children: Pointer[]
  /** Bytes of all items as they are on disk. */
  size: number
  dirty = false

  constructor(
    level: number,
    place: Pointer,
    keys: ByteString[] = [],
    values: Buffer[] = [],
    children: Pointer[] = [],
  ) {
    this.level = level
    this.address = place.address
    this.generation = place.generation
    this.keys = keys
    this.values = values
    this.children = children
    this.size = 0
    for (let at = 0; at < keys.length; at++) this.size += this.itemSize(at)
  }

  itemSize(at: number): number {
    const key = this.keys[at] as ByteString
    return ITEM + key.length + (this.level > 0 ? POINTER_SIZE : (this.values[at] as Buffer).length)
  }

  /** The place of the first key that is not below this one. */
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

  /** The child that a key is below. */
  childAt(key: ByteString): number {
    const at = this.seek(key)
    return at > 0 && this.keys[at] !== key ? at - 1 : at
  }
}

export function encodeNode(node: Node, checksum: Checksum): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.writeUIntLE(node.address, 8, 6)
  block.writeUIntLE(node.generation, 14, 6)
  block[20] = node.level
  block[21] = MAGIC
  block.writeUInt16LE(node.keys.length, 22)
  let at = HEADER
  for (const [index, key] of node.keys.entries()) {
    const value = node.values[index]
    const child = node.children[index]
    block.writeUInt16LE(key.length, at)
    block.writeUInt16LE(child === undefined ? (value as Buffer).length : POINTER_SIZE, at + 2)
    at += ITEM
    block.write(key, at, 'latin1')
    at += key.length
    if (child !== undefined) at = writePointer(block, at, child)
    else at += (value as Buffer).copy(block, at)
  }
  block.writeBigUInt64LE(checksum(block.subarray(8)), 0)
  return block
}

/** Why a block is not the node that it should be; else the node. */
export function decodeNode(block: Buffer, place: Pointer, checksum: Checksum): Node | string {
  if (block.readBigUInt64LE(0) !== checksum(block.subarray(8))) return 'its checksum is another one'
  if (block[21] !== MAGIC || block.readUIntLE(8, 6) !== place.address) return 'it holds something else'
  const generation = block.readUIntLE(14, 6)
  if (generation !== place.generation) {
    return `it is of generation ${generation}, not ${place.generation}`
  }
  const level = block[20] as number
  const keys: ByteString[] = []
  const values: Buffer[] = []
  const children: Pointer[] = []
  let at = HEADER
  for (let count = block.readUInt16LE(22); count > 0; count--) {
    const valueAt = at + ITEM + block.readUInt16LE(at)
    const end = valueAt + block.readUInt16LE(at + 2)
    keys.push(block.toString('latin1', at + ITEM, valueAt) as ByteString)
    if (level > 0) children.push(readPointer(block, valueAt))
    else values.push(block.subarray(valueAt, end))
    at = end
  }
  return new Node(level, place, keys, values, children)
}

export function writePointer(buffer: Buffer, at: number, { address, generation }: Pointer): number {
  buffer.writeUIntLE(address, at, 6)
  return buffer.writeUIntLE(generation, at + 6, 6)
}

export function readPointer(buffer: Buffer, at: number): Pointer {
  return { address: buffer.readUIntLE(at, 6), generation: buffer.readUIntLE(at + 6, 6) }
}
