import { type ByteString, bytesToBuffer } from '../fs/bytes.js'
import { BLOCK } from './header.js'
import { formatPaxTime } from './numbers.js'
import type { TarEntryType, TarHeader } from './part.js'
import { formatPax, XATTR_KEY, type PaxRecords } from './pax.js'
import { paddingLength } from './reader.js'

/** Two blocks of zeros. */
export const END_OF_TAR: Uint8Array = new Uint8Array(2 * BLOCK)
const ZEROS = new Uint8Array(BLOCK)
const BILLION = 1_000_000_000n

const TYPE_FLAGS: Readonly<Record<Exclude<TarEntryType, 'unknown'>, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
}

/**
 * A header as ustar, with a PAX header before it for whatever ustar cannot hold: long or non-ASCII names, large numbers,
 * times with a fraction, xattrs. The same header gives the same bytes. `sparse` and `unknown` are not written.
 */
export function encodeHeader(header: TarHeader): Buffer {
  const pax: PaxRecords = new Map()
  const name = splitName(header.name)
  if (name === undefined) pax.set('path', header.name)
  if (!fits(header.linkName, 100)) pax.set('linkpath', header.linkName)
  const uid = octalOr(pax, 'uid', header.uid, 7)
  const gid = octalOr(pax, 'gid', header.gid, 7)
  const size = octalOr(pax, 'size', header.size, 11)
  const seconds = header.mtimeNs / BILLION
  if (header.mtimeNs % BILLION !== 0n || seconds < 0n || seconds >= 1n << 33n) {
    pax.set('mtime', formatPaxTime(header.mtimeNs) as ByteString)
  }
  for (const [key, value] of header.xattrs) pax.set(XATTR_KEY + key, value.toString('latin1') as ByteString)
  if (!fits(header.userName, 32)) pax.set('uname', header.userName)
  if (!fits(header.groupName, 32)) pax.set('gname', header.groupName)

  const block = encodeBlock({
    name: name ?? ['' as ByteString, cutName(header.name)],
    flag: TYPE_FLAGS[header.type as Exclude<TarEntryType, 'unknown'>],
    mode: header.mode,
    uid,
    gid,
    size,
    mtime: seconds >= 0n && seconds < 1n << 33n ? Number(seconds) : 0,
    linkName: cut(header.linkName, 100),
    userName: cut(header.userName, 32),
    groupName: cut(header.groupName, 32),
    device: header.device,
  })
  return pax.size === 0 ? block : Buffer.concat([paxEntry(header.name, pax), block])
}

/** The zeros that follow content of this size. */
export function paddingOf(size: number): Uint8Array {
  return ZEROS.subarray(0, paddingLength(size))
}

interface Block {
  readonly name: readonly [prefix: ByteString, name: ByteString]
  readonly flag: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly linkName: ByteString
  readonly userName: ByteString
  readonly groupName: ByteString
  readonly device: { readonly major: number; readonly minor: number }
}

function encodeBlock(entry: Block): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.write(entry.name[1], 0, 100, 'latin1')
  octal(block, 100, 8, entry.mode)
  octal(block, 108, 8, entry.uid)
  octal(block, 116, 8, entry.gid)
  octal(block, 124, 12, entry.size)
  octal(block, 136, 12, entry.mtime)
  block.write(entry.flag, 156, 'latin1')
  block.write(entry.linkName, 157, 100, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  block.write(entry.userName, 265, 32, 'latin1')
  block.write(entry.groupName, 297, 32, 'latin1')
  octal(block, 329, 8, entry.device.major)
  octal(block, 337, 8, entry.device.minor)
  block.write(entry.name[0], 345, 155, 'latin1')
  let sum = 8 * 0x20
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** As Go names it: `PaxHeaders.0` in the entry's directory. */
function paxEntry(name: ByteString, pax: PaxRecords): Buffer {
  const body = formatPax(pax)
  const clean = name.replace(/\/+$/, '')
  const slash = clean.lastIndexOf('/')
  const paxName = `${clean.slice(0, slash + 1)}PaxHeaders.0/${clean.slice(slash + 1)}` as ByteString
  const block = encodeBlock({
    name: ['' as ByteString, cut(asciiOnly(paxName), 100)],
    flag: 'x',
    mode: 0,
    uid: 0,
    gid: 0,
    size: body.length,
    mtime: 0,
    linkName: '' as ByteString,
    userName: '' as ByteString,
    groupName: '' as ByteString,
    device: { major: 0, minor: 0 },
  })
  return Buffer.concat([block, body, paddingOf(body.length)])
}

/** Prefix and name, parted at a slash; `undefined` where ustar has no place for it. */
function splitName(name: ByteString): readonly [ByteString, ByteString] | undefined {
  if (fits(name, 100)) return ['' as ByteString, name]
  if (name.length > 256 || asciiOnly(name) !== name) return undefined
  const slash = name.slice(0, 156).lastIndexOf('/', name.length - 2)
  const rest = name.length - slash - 1
  return slash <= 0 || rest > 100
    ? undefined
    : [name.slice(0, slash) as ByteString, name.slice(slash + 1) as ByteString]
}

function fits(text: ByteString, length: number): boolean {
  return text.length <= length && asciiOnly(text) === text
}

function asciiOnly(text: ByteString): ByteString {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[^\x01-\x7f]/g, '') as ByteString
}

function cut(text: ByteString, length: number): ByteString {
  return bytesToBuffer(asciiOnly(text)).toString('latin1', 0, length) as ByteString
}

/** As Go: without a slash at the end, for readers that would take the file for a directory. */
function cutName(name: ByteString): ByteString {
  return cut(name, 100).replace(/\/+$/, '') as ByteString
}

/** The number for the block: 0 where it needs PAX. */
function octalOr(pax: PaxRecords, key: string, value: number, digits: number): number {
  if (value >= 0 && value < 8 ** digits) return value
  pax.set(key, `${value}` as ByteString)
  return 0
}

function octal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), offset, length - 1, 'latin1')
}
