import type { ByteString } from '../fs/bytes.js'
import { contentOf } from './extent.js'
import { Inode } from './inode.js'
import { ITEM, keyOf } from './key.js'
import { readPointer, writePointer, type Pointer } from './node.js'
import { Tree, type Ground } from './tree.js'

export interface VolumeRecord {
  readonly root: Pointer
  readonly number: number
  readonly nextInode: number
  /** Blocks of content in all files. */
  readonly blocks: number
  /** Most blocks of content; 0: no limit. */
  readonly limit: number
  /** Number of the volume that this one is a snapshot of; 0: none. */
  readonly origin: number
  readonly madeIn: number
}

export const ROOT_INODE = 1
const SIZE = 48

/** A filesystem of a store while it is in use: its tree and the fields of its record. */
export class Volume {
  name: string
  readonly tree: Tree
  readonly number: number
  readonly limit: number
  readonly origin: number
  readonly madeIn: number
  nextInode: number
  blocks: number
  /** How many users have the volume open. */
  opened = 0
  /** The volume was removed, has another name now, or was not open when the store took over a newer state. */
  gone = false
  /** How often each inode is open. */
  readonly files = new Map<number, number>()
  /** Changes whenever a directory may have changed its name or place. */
  moves = 0
  #saved: Buffer

  constructor(name: string, record: VolumeRecord, ground: Ground) {
    this.name = name
    this.tree = new Tree(ground, record.root, contentOf)
    this.number = record.number
    this.limit = record.limit
    this.origin = record.origin
    this.madeIn = record.madeIn
    this.nextInode = record.nextInode
    this.blocks = record.blocks
    this.#saved = encodeRecord(record)
  }

  get record(): VolumeRecord {
    const { number, nextInode, blocks, limit, origin, madeIn } = this
    return { root: this.tree.root, number, nextInode, blocks, limit, origin, madeIn }
  }

  /** Returns the encoded record if it differs from the last saved one, and marks it as saved. */
  unsaved(): Buffer | undefined {
    const record = encodeRecord(this.record)
    if (record.equals(this.#saved)) return undefined
    this.#saved = record
    return record
  }

  /** Takes over the record that another process committed. */
  becomes(record: VolumeRecord): void {
    this.#saved = encodeRecord(record)
    this.tree.moveTo(record.root)
    this.nextInode = record.nextInode
    this.blocks = record.blocks
    this.moves++
  }

  inode(number: number): Inode | undefined {
    const value = this.tree.get(keyOf(number, ITEM.inode))
    return value === undefined ? undefined : Inode.decode(value)
  }

  setInode(number: number, inode: Inode): void {
    this.tree.set(keyOf(number, ITEM.inode), inode.encode())
  }

  /** Removes an inode that has no name any more, and all of its items. */
  removeInode(number: number, release: (key: ByteString, value: Buffer) => void): void {
    const end = keyOf(number + 1, '')
    for (const [key, value] of this.tree.range(keyOf(number, ''), end)) {
      // Delete first: if the leaf is shared, this shadows it and raises the count of its content by one.
      this.tree.delete(key)
      release(key, value)
    }
  }
}

export function encodeRecord(record: VolumeRecord): Buffer {
  const value = Buffer.allocUnsafe(SIZE)
  let at = writePointer(value, 0, record.root)
  const { number, nextInode, blocks, limit, origin, madeIn } = record
  for (const field of [number, nextInode, blocks, limit, origin, madeIn]) {
    at = value.writeUIntLE(field, at, 6)
  }
  return value
}

export function decodeRecord(value: Buffer): VolumeRecord {
  const field = (index: number): number => value.readUIntLE(12 + 6 * index, 6)
  return {
    root: readPointer(value, 0),
    number: field(0),
    nextInode: field(1),
    blocks: field(2),
    limit: field(3),
    origin: field(4),
    madeIn: field(5),
  }
}
