import { ownedBy } from '../fs/attributes.js'
import type { DeviceNumber, FileType } from '../fs/sync-fs.js'
import { systemError } from '../sys/errno.js'

const SIZE = 86
const SECOND = 1_000_000_000n
const TYPES: readonly FileType[] = ['file', 'directory', 'symlink', 'char', 'block', 'fifo', 'socket']
const HIGH = 2 ** 32

/**
 * An inode in memory, kept in its on-disk encoding (docs/cow-format.md), since most callers need only a few fields. The
 * first change copies the bytes.
 */
export class Inode {
  #bytes: Buffer
  /** Whether no other object shares the bytes. */
  #own: boolean

  private constructor(bytes: Buffer, own: boolean) {
    this.#bytes = bytes
    this.#own = own
  }

  /** Creates an inode with uid 0. All four times are `timeNs`. */
  static made(
    type: FileType,
    fields: Partial<Pick<Inode, 'mode' | 'links' | 'gid' | 'size'>>,
    device: DeviceNumber,
    timeNs: bigint,
  ): Inode {
    const bytes = Buffer.alloc(SIZE)
    bytes[0] = numberOfType(type)
    bytes.writeUInt32LE(device.major, 30)
    bytes.writeUInt32LE(device.minor, 34)
    const times = { atimeNs: timeNs, mtimeNs: timeNs, ctimeNs: timeNs, birthtimeNs: timeNs }
    return Object.assign(new Inode(bytes, true), fields, times)
  }

  /** @param value must never change afterwards */
  static decode(value: Buffer): Inode {
    return new Inode(value, false)
  }

  /** Returns the encoded bytes. Callers must not change them. */
  encode(): Buffer {
    this.#own = false
    return this.#bytes
  }

  #writable(): Buffer {
    if (!this.#own) this.#bytes = Buffer.from(this.#bytes)
    this.#own = true
    return this.#bytes
  }

  get type(): FileType {
    return typeOfNumber(this.#bytes[0] as number)
  }

  get hasXattrs(): boolean {
    return this.#bytes[1] === 1
  }

  set hasXattrs(has: boolean) {
    this.#writable()[1] = has ? 1 : 0
  }

  get mode(): number {
    return this.#bytes.readUInt16LE(2)
  }

  set mode(mode: number) {
    this.#writable().writeUInt16LE(mode, 2)
  }

  get links(): number {
    return this.#bytes.readUInt32LE(4)
  }

  set links(links: number) {
    this.#writable().writeUInt32LE(links, 4)
  }

  get uid(): number {
    return this.#bytes.readUInt32LE(8)
  }

  set uid(uid: number) {
    this.#writable().writeUInt32LE(uid >>> 0, 8)
  }

  get gid(): number {
    return this.#bytes.readUInt32LE(12)
  }

  set gid(gid: number) {
    this.#writable().writeUInt32LE(gid >>> 0, 12)
  }

  get size(): number {
    return this.#bytes.readUInt32LE(20) * HIGH + this.#bytes.readUInt32LE(16)
  }

  set size(size: number) {
    this.#writable().writeUInt32LE(size % HIGH, 16)
    this.#writable().writeUInt32LE(Math.floor(size / HIGH), 20)
  }

  get blocks(): number {
    return this.#bytes.readUIntLE(24, 6)
  }

  set blocks(blocks: number) {
    this.#writable().writeUIntLE(blocks, 24, 6)
  }

  get device(): DeviceNumber {
    return { major: this.#bytes.readUInt32LE(30), minor: this.#bytes.readUInt32LE(34) }
  }

  get atimeNs(): bigint {
    return readTime(this.#bytes, 38)
  }

  set atimeNs(time: bigint) {
    writeTime(this.#writable(), 38, time)
  }

  get mtimeNs(): bigint {
    return readTime(this.#bytes, 50)
  }

  set mtimeNs(time: bigint) {
    writeTime(this.#writable(), 50, time)
  }

  get ctimeNs(): bigint {
    return readTime(this.#bytes, 62)
  }

  set ctimeNs(time: bigint) {
    writeTime(this.#writable(), 62, time)
  }

  get birthtimeNs(): bigint {
    return readTime(this.#bytes, 74)
  }

  set birthtimeNs(time: bigint) {
    writeTime(this.#writable(), 74, time)
  }
}

function readTime(bytes: Buffer, at: number): bigint {
  return bytes.readBigInt64LE(at) * SECOND + BigInt(bytes.readUInt32LE(at + 8))
}

function writeTime(bytes: Buffer, at: number, time: bigint): void {
  const nanoseconds = ((time % SECOND) + SECOND) % SECOND
  bytes.writeBigInt64LE((time - nanoseconds) / SECOND, at)
  bytes.writeUInt32LE(Number(nanoseconds), at + 8)
}

const LEAVE = 0xffff_ffff

/**
 * Sets the owner as chown(2) by root does: -1 or 2^32 - 1 keeps that ID, and set-ID bits are cleared. Throws `EINVAL`
 * for a number that is not a valid ID.
 */
export function setOwner(inode: Inode, uid: number, gid: number): void {
  const owned = ownedBy(inode, idToSet(uid), idToSet(gid))
  inode.mode = owned.mode
  inode.uid = owned.uid
  inode.gid = owned.gid
}

function idToSet(id: number): number {
  if (id === -1 || id === LEAVE) return -1
  if (Number.isInteger(id) && id >= 0 && id < LEAVE) return id
  throw systemError('EINVAL', 'chown')
}

export function setTimes(inode: Inode, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  if (atimeNs !== undefined) inode.atimeNs = atimeNs
  if (mtimeNs !== undefined) inode.mtimeNs = mtimeNs
}

export function numberOfType(type: FileType): number {
  return TYPES.indexOf(type) + 1
}

export function typeOfNumber(number: number): FileType {
  return TYPES[number - 1] ?? 'file'
}
