import type { ByteString } from '../fs/bytes.js'

/** What an item of a volume's tree is; stands behind the inode's number in its key. */
export const ITEM = {
  inode: '\x01',
  reference: '\x02',
  entry: '\x03',
  xattr: '\x04',
  target: '\x05',
  extent: '\x06',
  orphan: '\x07',
} as const

/** A number as six bytes that sort as it counts. */
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

/** The number that stands in a key at `at`. */
export function numberAt(key: ByteString, at: number): number {
  let number = 0
  for (let index = at; index < at + 6; index++) number = number * 256 + key.charCodeAt(index)
  return number
}

export function keyOf(inode: number, item: string, rest = ''): ByteString {
  return (u48(inode) + item + rest) as ByteString
}

/** Above every key of this kind. */
export function endOf(inode: number, item: string): ByteString {
  return (u48(inode) + String.fromCharCode(item.charCodeAt(0) + 1)) as ByteString
}

/** Where what stands behind the type begins. */
export const REST = 7
