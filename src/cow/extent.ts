import type { ByteString } from '../fs/bytes.js'
import type { Address, Run } from './block.js'
import { ITEM } from './key.js'

/** Most blocks of one extent. Bounds the cost of sharing a leaf and of splitting an extent. */
export const LARGEST_EXTENT = 64

const HEADER = 12
const SUM = 8

export function encodeExtent(address: Address, generation: number, sums: readonly bigint[]): Buffer {
  const value = Buffer.allocUnsafe(HEADER + SUM * sums.length)
  value.writeUIntLE(address, 0, 6)
  value.writeUIntLE(generation, 6, 6)
  for (const [index, sum] of sums.entries()) value.writeBigUInt64LE(sum, HEADER + SUM * index)
  return value
}

export function addressOf(value: Buffer): Address {
  return value.readUIntLE(0, 6)
}

export function generationOf(value: Buffer): number {
  return value.readUIntLE(6, 6)
}

export function lengthOf(value: Buffer): number {
  return (value.length - HEADER) / SUM
}

export function sumOf(value: Buffer, block: number): bigint {
  return value.readBigUInt64LE(HEADER + SUM * block)
}

/** The part of an extent from its block `from` up to, but excluding, `to`. */
export function partOf(value: Buffer, from: number, to: number): Buffer {
  const part = Buffer.allocUnsafe(HEADER + SUM * (to - from))
  value.copy(part, 6, 6, HEADER)
  part.writeUIntLE(addressOf(value) + from, 0, 6)
  value.copy(part, HEADER, HEADER + SUM * from, HEADER + SUM * to)
  return part
}

/**
 * Joins two consecutive extents, or returns `undefined`. They must also be consecutive on the device, of one
 * generation, and fit in one extent.
 */
export function joined(first: Buffer, second: Buffer): Buffer | undefined {
  const length = lengthOf(first)
  if (length + lengthOf(second) > LARGEST_EXTENT) return undefined
  if (addressOf(first) + length !== addressOf(second)) return undefined
  if (generationOf(first) !== generationOf(second)) return undefined
  return Buffer.concat([first, second.subarray(HEADER)])
}

/** For a volume's tree: the blocks that an item points to. */
export function contentOf(key: ByteString, value: Buffer): Run | undefined {
  if (key[6] !== ITEM.extent) return undefined
  return { address: addressOf(value), length: lengthOf(value) }
}
