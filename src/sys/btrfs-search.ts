import { ioctl, request } from './ioctl.js'

const TREE_SEARCH_V2 = request('both', 0x94, 17, 112)
const KEY = 112
const HEADER = 32
const BUFFER = 256 << 10
const MOST = 0xffff_ffff_ffff_ffffn

/** A position in a B-tree, which is ordered by object, type and offset. */
interface Place {
  readonly object: bigint
  readonly type: number
  readonly offset: bigint
}

/** An item. Its data is valid only until the next item is requested. */
export interface TreeItem extends Place {
  readonly data: Buffer
}

export interface TreeRange {
  /** @default 0n, the subvolume of the descriptor */
  readonly tree?: bigint
  readonly first: Place
  readonly last: Place
  /** Only items in leaves written by this transaction or a later one. @default 0n */
  readonly since?: bigint
  /** Only items of these types. @default all */
  readonly types?: ReadonlySet<number>
}

export const LAST_PLACE: Place = { object: MOST, type: 0xff, offset: MOST }

/** Yields the items of a B-tree between two places, in order. Needs CAP_SYS_ADMIN. */
export function* searchTree(fd: number, range: TreeRange): Generator<TreeItem, void, void> {
  const { tree = 0n, first, last, since = 0n, types } = range
  const buffer = Buffer.allocUnsafeSlow(KEY + (first.object === last.object ? SMALL : BUFFER))
  for (let next: Place | undefined = first; next !== undefined;) {
    writeKey(buffer, tree, next, last, since)
    ioctl(fd, TREE_SEARCH_V2, buffer, 'BTRFS_IOC_TREE_SEARCH_V2')
    const count = buffer.readUInt32LE(64)
    if (count === 0) return
    let at = KEY
    for (let index = 1; ; index++) {
      const end = at + HEADER + buffer.readUInt32LE(at + 28)
      if (types?.has(buffer.readUInt32LE(at + 24)) !== false) {
        yield { ...placeAt(buffer, at), data: buffer.subarray(at + HEADER, end) }
      }
      if (index === count) break
      at = end
    }
    next = after(placeAt(buffer, at))
  }
}

function placeAt(buffer: Buffer, at: number): Place {
  return {
    object: buffer.readBigUInt64LE(at + 8),
    offset: buffer.readBigUInt64LE(at + 16),
    type: buffer.readUInt32LE(at + 24),
  }
}

/** Large enough for any item: leaves have at most 64 KiB. */
const SMALL = 65 << 10

function writeKey(buffer: Buffer, tree: bigint, first: Place, last: Place, since: bigint): void {
  buffer.fill(0, 0, KEY)
  const numbers = [tree, first.object, last.object, first.offset, last.offset, since, MOST]
  for (const [index, number] of numbers.entries()) buffer.writeBigUInt64LE(number, index * 8)
  buffer.writeUInt32LE(first.type, 56)
  buffer.writeUInt32LE(last.type, 60)
  buffer.writeUInt32LE(0xffff_ffff, 64)
  buffer.writeBigUInt64LE(BigInt(buffer.length - KEY), 104)
}

function after({ object, type, offset }: Place): Place | undefined {
  if (offset < MOST) return { object, type, offset: offset + 1n }
  if (type < 0xff) return { object, type: type + 1, offset: 0n }
  return object < MOST ? { object: object + 1n, type: 0, offset: 0n } : undefined
}
