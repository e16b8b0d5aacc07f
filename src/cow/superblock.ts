import { BLOCK, type BlockDevice } from './block.js'
import type { Checksum } from './checksum.js'
import { readPointer, writePointer, type Pointer } from './node.js'

export interface Superblock {
  readonly store: Buffer
  readonly generation: number
  readonly groups: number
  readonly used: number
  readonly nextVolume: number
  readonly volumes: Pointer
  readonly space: Pointer
}

/** What the first blocks of a device hold. */
export type Found =
  | { readonly kind: 'superblock'; readonly superblock: Superblock; readonly slot: number }
  | { readonly kind: 'empty' | 'foreign' | 'damaged' }
  | { readonly kind: 'version'; readonly version: number }

export const SUPERBLOCKS = 2
const VERSION = 1
const SIZE = 512
const scratch = Buffer.allocUnsafeSlow(SUPERBLOCKS * BLOCK)
const MAGIC = Buffer.from('layerstack.cow\0\0', 'latin1')

export function encodeSuperblock(superblock: Superblock, checksum: Checksum): Buffer {
  const one = Buffer.alloc(SIZE)
  MAGIC.copy(one, 8)
  one.writeUInt32LE(VERSION, 24)
  one.writeUInt32LE(BLOCK, 28)
  superblock.store.copy(one, 32)
  one.writeBigUInt64LE(BigInt(superblock.generation), 48)
  one.writeBigUInt64LE(BigInt(superblock.groups), 56)
  one.writeBigUInt64LE(BigInt(superblock.used), 64)
  one.writeBigUInt64LE(BigInt(superblock.nextVolume), 72)
  writePointer(one, 80, superblock.volumes)
  writePointer(one, 92, superblock.space)
  one.writeBigUInt64LE(checksum(one.subarray(8)), 0)
  return Buffer.concat(Array.from({ length: BLOCK / SIZE }, () => one))
}

/**
 * The state of a store: the intact superblock with the highest generation. An intact superblock of another version
 * takes precedence: its state may be later.
 */
export function findSuperblock(device: BlockDevice, checksum: Checksum): Found {
  const blocks = Buffer.allocUnsafe(SUPERBLOCKS * BLOCK)
  device.read(blocks, 0)
  let best: Extract<Found, { kind: 'superblock' }> | undefined
  let other: Found | undefined
  for (let at = 0; at < blocks.length; at += SIZE) {
    const copy = blocks.subarray(at, at + SIZE)
    const found = decode(copy, Math.floor(at / BLOCK), checksum)
    if (found.kind !== 'superblock') {
      if (other === undefined || other.kind === 'empty' || found.kind === 'version') other = found
    } else if (best === undefined || found.superblock.generation > best.superblock.generation) {
      best = found
    }
  }
  if (other?.kind === 'version') return other
  return best ?? other ?? { kind: 'empty' }
}

/**
 * How many copies of the superblock in this slot are damaged. Blank and older copies don't count: an interrupted commit
 * leaves them.
 */
export function damagedCopies(device: BlockDevice, slot: number, checksum: Checksum): number {
  const block = Buffer.allocUnsafe(BLOCK)
  device.read(block, slot * BLOCK)
  let copies = 0
  for (let at = 0; at < BLOCK; at += SIZE) {
    const { kind } = decode(block.subarray(at, at + SIZE), slot, checksum)
    if (kind !== 'empty' && kind !== 'superblock') copies++
  }
  return copies
}

/** The higher of the generations in the two superblocks, without verifying them. Cheap enough for every call. */
export function newestGeneration(device: BlockDevice): number {
  device.read(scratch, 0)
  return Math.max(Number(scratch.readBigUInt64LE(48)), Number(scratch.readBigUInt64LE(BLOCK + 48)))
}

function decode(copy: Buffer, slot: number, checksum: Checksum): Found {
  if (copy.every((byte) => byte === 0)) return { kind: 'empty' }
  if (!copy.subarray(8, 24).equals(MAGIC)) return { kind: 'foreign' }
  if (copy.readBigUInt64LE(0) !== checksum(copy.subarray(8))) return { kind: 'damaged' }
  const version = copy.readUInt32LE(24)
  if (version !== VERSION || copy.readUInt32LE(28) !== BLOCK) return { kind: 'version', version }
  return {
    kind: 'superblock',
    slot,
    superblock: {
      store: Buffer.from(copy.subarray(32, 48)),
      generation: Number(copy.readBigUInt64LE(48)),
      groups: Number(copy.readBigUInt64LE(56)),
      used: Number(copy.readBigUInt64LE(64)),
      nextVolume: Number(copy.readBigUInt64LE(72)),
      volumes: readPointer(copy, 80),
      space: readPointer(copy, 92),
    },
  }
}
