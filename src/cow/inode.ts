import { ownedBy } from '../fs/attributes.js'
import type { DeviceNumber, FileType } from '../fs/raw-fs.js'

/** An inode in memory; see docs/cow-format.md. */
export interface Inode {
  readonly type: FileType
  hasXattrs: boolean
  mode: number
  links: number
  uid: number
  gid: number
  size: number
  blocks: number
  readonly device: DeviceNumber
  atimeNs: bigint
  mtimeNs: bigint
  ctimeNs: bigint
  birthtimeNs: bigint
}

const SIZE = 86
const SECOND = 1_000_000_000n
const TYPES: readonly FileType[] = ['file', 'directory', 'symlink', 'char', 'block', 'fifo', 'socket']
const TIMES = 38

export function encodeInode(inode: Inode): Buffer {
  const value = Buffer.allocUnsafe(SIZE)
  value[0] = numberOfType(inode.type)
  value[1] = inode.hasXattrs ? 1 : 0
  value.writeUInt16LE(inode.mode, 2)
  value.writeUInt32LE(inode.links, 4)
  value.writeUInt32LE(inode.uid >>> 0, 8)
  value.writeUInt32LE(inode.gid >>> 0, 12)
  value.writeBigUInt64LE(BigInt(inode.size), 16)
  value.writeUIntLE(inode.blocks, 24, 6)
  value.writeUInt32LE(inode.device.major, 30)
  value.writeUInt32LE(inode.device.minor, 34)
  for (const [index, time] of [inode.atimeNs, inode.mtimeNs, inode.ctimeNs, inode.birthtimeNs].entries()) {
    const nanoseconds = ((time % SECOND) + SECOND) % SECOND
    value.writeBigInt64LE((time - nanoseconds) / SECOND, TIMES + 12 * index)
    value.writeUInt32LE(Number(nanoseconds), TIMES + 12 * index + 8)
  }
  return value
}

export function decodeInode(value: Buffer): Inode {
  const time = (index: number): bigint =>
    value.readBigInt64LE(TIMES + 12 * index) * SECOND + BigInt(value.readUInt32LE(TIMES + 12 * index + 8))
  return {
    type: typeOfNumber(value[0] as number),
    hasXattrs: value[1] === 1,
    mode: value.readUInt16LE(2),
    links: value.readUInt32LE(4),
    uid: value.readUInt32LE(8),
    gid: value.readUInt32LE(12),
    size: Number(value.readBigUInt64LE(16)),
    blocks: value.readUIntLE(24, 6),
    device: { major: value.readUInt32LE(30), minor: value.readUInt32LE(34) },
    atimeNs: time(0),
    mtimeNs: time(1),
    ctimeNs: time(2),
    birthtimeNs: time(3),
  }
}

/** -1 leaves that id as it is; set-ID bits go, as chown(2) takes them. */
export function setOwner(inode: Inode, uid: number, gid: number): void {
  const owned = ownedBy(inode, uid, gid)
  inode.mode = owned.mode
  inode.uid = owned.uid
  inode.gid = owned.gid
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
