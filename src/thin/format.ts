import { closeSync, openSync, readSync } from 'node:fs'
import { BLOCK } from '../cow/block.js'
import { isErrno } from '../errors.js'
import { crc32c } from './crc32c.js'

/**
 * The metadata blocks of a thin pool, in the kernel's format (drivers/md/dm-thin-metadata.c and
 * drivers/md/persistent-data). Each block begins with a checksum of the rest, and contains its own number.
 */

/** The checksum salt of each kind of block. */
const SALT = { superblock: 160_774, node: 121_107, bitmap: 240_779, index: 160_478 } as const
export type BlockKind = keyof typeof SALT

const NUMBER_AT = 8

/** Writes the block's number and its checksum. */
export function seal(block: Buffer, address: number, kind: BlockKind): Buffer {
  block.writeBigUInt64LE(BigInt(address), NUMBER_AT)
  block.writeUInt32LE(crc32c(block.subarray(4), SALT[kind]), 0)
  return block
}

/** Why a block is not the expected one, or `undefined` if it is. */
export function complaint(block: Buffer, address: number, kind: BlockKind): string | undefined {
  if (block.readUInt32LE(0) !== crc32c(block.subarray(4), SALT[kind])) return 'wrong checksum'
  if (Number(block.readBigUInt64LE(NUMBER_AT)) !== address) return 'it has the number of another block'
  return undefined
}

export interface ThinSuperblock {
  readonly flags: number
  /** Counts commits, in bytes that the kernel reserves for a UUID and never reads. */
  readonly generation: number
  readonly time: number
  readonly transactionId: number
  readonly dataSpace: SpaceRoot
  readonly metadataSpace: SpaceRoot
  /** The tree of mapping trees, by device. */
  readonly mappings: number
  readonly details: number
  /** In sectors. */
  readonly dataBlockSize: number
  readonly metadataBlocks: number
}

/** Whether a file holds a pool that this library created: the kernel does not count commits. */
export function isPoolOfOurs(path: string): boolean {
  const block = Buffer.alloc(BLOCK)
  try {
    const fd = openSync(path, 'r')
    try {
      readSync(fd, block, 0, BLOCK, 0)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EISDIR')) return false
    throw error
  }
  const found = decodeSuperblock(block)
  return !('why' in found) && found.generation > 0
}

export interface SpaceRoot {
  readonly blocks: number
  readonly allocated: number
  readonly bitmaps: number
  readonly counts: number
}

/** In sectors: 64 KiB to 1 GiB. */
const SMALLEST_BLOCK = 128
const LARGEST_BLOCK = 2_097_152
/** 16 TiB in blocks of 64 KiB. */
const MOST_DATA_BLOCKS = 2 ** 28
/** 255 bitmaps. */
const MOST_METADATA_BLOCKS = 255 * (BLOCK - 16) * 4
const GENERATION_AT = 16
/** Bytes at the start of a superblock that change with each commit. */
export const STAMP = 32
const MAGIC = 27_022_010n
const VERSION = 2
const SECTORS = BLOCK / 512

export function encodeSuperblock(superblock: ThinSuperblock): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.writeUInt32LE(superblock.flags, 4)
  block.writeBigUInt64LE(BigInt(superblock.generation), GENERATION_AT)
  block.writeBigUInt64LE(MAGIC, 32)
  block.writeUInt32LE(VERSION, 40)
  block.writeUInt32LE(superblock.time, 44)
  block.writeBigUInt64LE(BigInt(superblock.transactionId), 48)
  writeSpaceRoot(block, 64, superblock.dataSpace)
  writeSpaceRoot(block, 192, superblock.metadataSpace)
  block.writeBigUInt64LE(BigInt(superblock.mappings), 320)
  block.writeBigUInt64LE(BigInt(superblock.details), 328)
  block.writeUInt32LE(superblock.dataBlockSize, 336)
  block.writeUInt32LE(SECTORS, 340)
  block.writeBigUInt64LE(BigInt(superblock.metadataBlocks), 344)
  return seal(block, 0, 'superblock')
}

/**
 * Decodes a superblock. Otherwise returns why it is unusable, as a sentence, and whether it is a damaged superblock.
 */
export function decodeSuperblock(
  block: Buffer,
): ThinSuperblock | { readonly why: string; readonly isDamaged: boolean } {
  const foreign = (why: string) => ({ why, isDamaged: false })
  if (block.readBigUInt64LE(32) !== MAGIC)
    return foreign('it does not have the magic number of thin-pool metadata')
  const damage = complaint(block, 0, 'superblock')
  if (damage !== undefined) return { why: damage, isDamaged: true }
  const version = block.readUInt32LE(40)
  if (version < 1 || version > VERSION) return foreign(`unsupported version ${version}`)
  if (block.readUInt32LE(360) !== 0) return foreign('it uses unsupported features')
  const found = {
    flags: block.readUInt32LE(4),
    generation: number(block, GENERATION_AT),
    time: block.readUInt32LE(44),
    transactionId: number(block, 48),
    dataSpace: readSpaceRoot(block, 64),
    metadataSpace: readSpaceRoot(block, 192),
    mappings: number(block, 320),
    details: number(block, 328),
    dataBlockSize: block.readUInt32LE(336),
    metadataBlocks: number(block, 344),
  }
  return isPossible(found) ? found : { why: 'its sizes are out of range', isDamaged: true }
}

/** Checks the kernel's limits, and a limit for data blocks that keeps their counts small enough for memory. */
function isPossible({ dataBlockSize, dataSpace, metadataSpace, metadataBlocks }: ThinSuperblock): boolean {
  return (
    dataBlockSize >= SMALLEST_BLOCK &&
    dataBlockSize <= LARGEST_BLOCK &&
    dataBlockSize % SMALLEST_BLOCK === 0 &&
    dataSpace.blocks <= MOST_DATA_BLOCKS &&
    metadataBlocks <= MOST_METADATA_BLOCKS &&
    metadataSpace.blocks <= metadataBlocks
  )
}

function writeSpaceRoot(block: Buffer, at: number, root: SpaceRoot): void {
  for (const [index, value] of [root.blocks, root.allocated, root.bitmaps, root.counts].entries()) {
    block.writeBigUInt64LE(BigInt(value), at + 8 * index)
  }
}

function readSpaceRoot(block: Buffer, at: number): SpaceRoot {
  return {
    blocks: number(block, at),
    allocated: number(block, at + 8),
    bitmaps: number(block, at + 16),
    counts: number(block, at + 24),
  }
}

export function number(block: Buffer, at: number): number {
  return Number(block.readBigUInt64LE(at))
}
