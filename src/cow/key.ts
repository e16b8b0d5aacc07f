import type { ByteString } from '../fs/bytes.js'

/** The type of an item in a volume's tree. In the key, it follows the inode number. */
export const ITEM = {
  inode: '\x01',
  reference: '\x02',
  entry: '\x03',
  xattr: '\x04',
  target: '\x05',
  extent: '\x06',
  orphan: '\x07',
} as const

/** Encodes a number as six bytes, big-endian, so that bytes sort as numbers do. */
export function u48(number: number): string {
  const high = Math.floor(number / 0x1000000)
  return String.fromCharCode(
    high >>> 16,
    (high >>> 8) & 0xff,
    high & 0xff,
    (number >>> 16) & 0xff,
    (number >>> 8) & 0xff,
    number & 0xff,
  )
}

export function u16(number: number): string {
  return String.fromCharCode(number >>> 8, number & 0xff)
}

/** Decodes the six-byte number at offset `at` of a key. */
export function numberAt(key: ByteString, at: number): number {
  let number = 0
  for (let index = at; index < at + 6; index++) number = number * 256 + key.charCodeAt(index)
  return number
}

export function keyOf(inode: number, item: string, rest = ''): ByteString {
  return (u48(inode) + item + rest) as ByteString
}

/** An upper bound for all keys of this inode and type. */
export function endOf(inode: number, item: string): ByteString {
  return (u48(inode) + String.fromCharCode(item.charCodeAt(0) + 1)) as ByteString
}

/** Offset of the part of a key that follows the type. */
export const REST = 7
