import { BLOCK } from '../cow/block.js'
import { FixedValues } from './fixed-values.js'
import { number, seal } from './format.js'

const HEADER = 32
const INTERNAL = 1
const LEAF = 2
const POINTER = 8

/** A node of a tree with ascending numbers as keys and values of one size. */
export interface ThinNode {
  address: number
  readonly leaf: boolean
  readonly keys: number[]
  /** Only in a leaf. */
  readonly values: FixedValues
  /** Only above the leaves. */
  readonly children: number[]
}

/** How many keys fit in a node. Every node except a root has at least a third of them. */
export function roomIn(leaf: boolean, valueSize: number): number {
  return 3 * Math.floor((BLOCK - HEADER) / (8 + (leaf ? valueSize : POINTER)) / 3)
}

export function encodeThinNode(node: ThinNode, valueSize: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  const room = roomIn(node.leaf, valueSize)
  const size = node.leaf ? valueSize : POINTER
  block.writeUInt32LE(node.leaf ? LEAF : INTERNAL, 4)
  block.writeUInt32LE(node.keys.length, 16)
  block.writeUInt32LE(room, 20)
  block.writeUInt32LE(size, 24)
  const valuesAt = HEADER + 8 * room
  for (const [at, key] of node.keys.entries()) {
    block.writeBigUInt64LE(BigInt(key), HEADER + 8 * at)
    if (!node.leaf) block.writeBigUInt64LE(BigInt(node.children[at] as number), valuesAt + size * at)
  }
  node.values.writeTo(block, valuesAt)
  return seal(block, node.address, 'node')
}

/** Decodes a node, or returns why the block is not a node of this tree. The caller has verified the checksum. */
export function decodeThinNode(block: Buffer, address: number, valueSize: number): ThinNode | string {
  const leaf = (block.readUInt32LE(4) & LEAF) !== 0
  const size = leaf ? valueSize : POINTER
  const [count, room] = [block.readUInt32LE(16), block.readUInt32LE(20)]
  if (room !== roomIn(leaf, valueSize) || block.readUInt32LE(24) !== size || count > room) {
    return 'not a node of this tree'
  }
  const valuesAt = HEADER + 8 * room
  const values = block.subarray(valuesAt, valuesAt + (leaf ? count * size : 0))
  const node: ThinNode = { address, leaf, keys: [], values: new FixedValues(valueSize, values), children: [] }
  for (let at = 0; at < count; at++) {
    node.keys.push(number(block, HEADER + 8 * at))
    if (at > 0 && !((node.keys[at - 1] as number) < (node.keys[at] as number))) return 'keys out of order'
    if (!leaf) node.children.push(number(block, valuesAt + size * at))
  }
  return node
}
