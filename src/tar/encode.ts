import type { ByteString } from '../fs/bytes.js'
import { BLOCK, paddingLength } from './block.js'
import { formatPaxTime } from './numbers.js'
import type { TarEntryType, TarHeader } from './part.js'
import { formatPax, xattrRecord, type PaxRecords } from './pax.js'

/** Two blocks of zeros. */
export const END_OF_TAR: Uint8Array = new Uint8Array(2 * BLOCK)
const ZEROS = new Uint8Array(BLOCK)
const BILLION = 1_000_000_000n
const NAME_LENGTH = 100
const PREFIX_LENGTH = 155

const FLAGS: Readonly<Record<Exclude<TarEntryType, 'unknown'>, string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
}

/**
 * Encodes a header as ustar. A PAX header before it holds whatever ustar cannot: long or non-ASCII names, large
 * numbers, times with a fraction or before 1970, access times, xattrs. PAX records hold names as raw bytes. The same
 * header gives the same bytes, and reading them gives the header.
 *
 * Does not write `sparse`. Throws `TypeError` for an `unknown` type.
 */
export function encodeHeader(header: TarHeader): Buffer {
  if (header.type === 'unknown') throw new TypeError('cannot encode an entry of unknown type')
  const pax: PaxRecords = new Map()
  const split = splitName(header.name)
  if (split === undefined) pax.set('path', header.name)
  const seconds = wholeSeconds(header.mtimeNs)
  if (seconds === undefined) pax.set('mtime', formatPaxTime(header.mtimeNs) as ByteString)
  if (header.atimeNs !== undefined) pax.set('atime', formatPaxTime(header.atimeNs) as ByteString)
  for (const [name, value] of header.xattrs) pax.set(...xattrRecord(name, value))
  const block: Block = {
    prefix: split?.prefix ?? '',
    name: split?.name ?? shortened(header.name, NAME_LENGTH),
    flag: FLAGS[header.type as keyof typeof FLAGS],
    mode: header.mode,
    uid: numberOr(pax, 'uid', header.uid, 8),
    gid: numberOr(pax, 'gid', header.gid, 8),
    size: numberOr(pax, 'size', header.size, 12),
    mtime: seconds ?? 0,
    linkName: textOr(pax, 'linkpath', header.linkName, NAME_LENGTH),
    userName: textOr(pax, 'uname', header.userName, 32),
    groupName: textOr(pax, 'gname', header.groupName, 32),
    major: numberOr(pax, 'SCHILY.devmajor', header.device.major, 8),
    minor: numberOr(pax, 'SCHILY.devminor', header.device.minor, 8),
  }
  const body = pax.size === 0 ? '' : formatPax(pax)
  const extension = body === '' ? 0 : BLOCK + body.length + paddingLength(body.length)
  const bytes = zeros(extension + BLOCK)
  if (extension > 0) {
    encodePaxBlock(bytes, paxName(header.name), body.length)
    bytes.write(body, BLOCK, 'latin1')
  }
  encodeBlock(bytes, extension, block)
  return bytes
}

/** Cut from a slab: one allocation for dozens of headers. */
function zeros(length: number): Buffer {
  if (length > SLAB >> 3) return Buffer.alloc(length)
  if (slabUsed + length > SLAB) {
    slab = Buffer.alloc(SLAB)
    slabUsed = 0
  }
  return slab.subarray(slabUsed, (slabUsed += length))
}

const SLAB = 1 << 16
let slab = Buffer.alloc(0)
let slabUsed = SLAB

/** Returns the zeros that follow content of this size. */
export function paddingOf(size: number): Uint8Array {
  return ZEROS.subarray(0, paddingLength(size))
}

/** Splits a name at a slash into prefix and name. Returns `undefined` if ustar has no room for it. */
function splitName(name: ByteString): { prefix: string; name: string } | undefined {
  if (!isAscii(name)) return undefined
  if (name.length <= NAME_LENGTH) return { prefix: '', name }
  if (name.length > PREFIX_LENGTH + 1 + NAME_LENGTH) return undefined
  const slash = name.slice(0, PREFIX_LENGTH + 1).lastIndexOf('/', name.length - 2)
  if (slash <= 0 || name.length - slash - 1 > NAME_LENGTH) return undefined
  return { prefix: name.slice(0, slash), name: name.slice(slash + 1) }
}

/** Returns `undefined` for a time that needs PAX. */
function wholeSeconds(ns: bigint): number | undefined {
  if (ns % BILLION !== 0n || ns < 0n) return undefined
  const seconds = Number(ns / BILLION)
  return seconds < 8 ** 11 ? seconds : undefined
}

/** By length of the field: the smallest number that its digits cannot hold. */
const LIMITS = Array.from({ length: 13 }, (_, length) => 8 ** (length - 1))

/** Returns the number for a field of this length; 0 if the number needs PAX. */
function numberOr(pax: PaxRecords, key: string, value: number, length: number): number {
  if (value >= 0 && value < (LIMITS[length] as number)) return value
  pax.set(key, `${value}` as ByteString)
  return 0
}

function textOr(pax: PaxRecords, key: string, value: ByteString, length: number): string {
  if (value.length <= length && isAscii(value)) return value
  pax.set(key, value)
  return shortened(value, length)
}

/** For readers without PAX. Some of them would take a slash at the end for a directory's, so it is cut off. */
function shortened(text: ByteString, length: number): string {
  const ascii = isAscii(text) ? text : asciiOf(text)
  return ascii.length <= length ? ascii : ascii.slice(0, length).replace(/\/+$/, '')
}

function isAscii(text: string): boolean {
  if (text === '') return true
  // oxlint-disable-next-line no-control-regex
  return /^[\x01-\x7f]*$/.test(text)
}

function asciiOf(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[^\x01-\x7f]/g, '')
}

/** Named as in Go: `PaxHeaders.0` in the entry's directory. */
function paxName(name: ByteString): string {
  const clean = name.endsWith('/') ? name.replace(/\/+$/, '') : name
  const slash = clean.lastIndexOf('/') + 1
  return shortened(`${clean.slice(0, slash)}PaxHeaders.0/${clean.slice(slash)}` as ByteString, NAME_LENGTH)
}

interface Block {
  readonly prefix: string
  readonly name: string
  readonly flag: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly linkName: string
  readonly userName: string
  readonly groupName: string
  readonly major: number
  readonly minor: number
}

/** A PAX header's block without name and size, and the sum of its bytes. */
const PAX_BLOCK = Buffer.alloc(BLOCK)
const PAX_SUM = encodeBlock(PAX_BLOCK, 0, {
  prefix: '',
  name: '',
  flag: 'x',
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0,
  linkName: '',
  userName: '',
  groupName: '',
  major: 0,
  minor: 0,
})
const NO_SIZE = octal(Buffer.alloc(12), 0, 12, 0)

function encodePaxBlock(bytes: Buffer, name: string, size: number): void {
  bytes.set(PAX_BLOCK)
  putSum(bytes, 0, PAX_SUM + put(bytes, 0, name) + octal(bytes, 124, 12, size) - NO_SIZE)
}

/** Writes into a block of zeros. @returns the sum of the bytes, with the checksum field counted as spaces */
function encodeBlock(bytes: Buffer, start: number, entry: Block): number {
  let sum = 8 * 0x20
  sum += put(bytes, start, entry.name)
  sum += octal(bytes, start + 100, 8, entry.mode)
  sum += octal(bytes, start + 108, 8, entry.uid)
  sum += octal(bytes, start + 116, 8, entry.gid)
  sum += octal(bytes, start + 124, 12, entry.size)
  sum += octal(bytes, start + 136, 12, entry.mtime)
  sum += put(bytes, start + 156, entry.flag)
  sum += put(bytes, start + 157, entry.linkName)
  sum += put(bytes, start + 257, 'ustar\x0000')
  sum += put(bytes, start + 265, entry.userName)
  sum += put(bytes, start + 297, entry.groupName)
  sum += octal(bytes, start + 329, 8, entry.major)
  sum += octal(bytes, start + 337, 8, entry.minor)
  sum += put(bytes, start + 345, entry.prefix)
  putSum(bytes, start, sum)
  return sum
}

function putSum(bytes: Buffer, start: number, sum: number): void {
  octal(bytes, start + 148, 7, sum)
  bytes[start + 155] = 0x20
}

/** A loop, because a native call costs more for short strings. @returns the sum of the bytes */
function put(bytes: Buffer, offset: number, value: string): number {
  let sum = 0
  for (let at = 0; at < value.length; at++) sum += bytes[offset + at] = value.charCodeAt(at)
  return sum
}

/** Writes octal digits and leaves a NUL after them. @returns the sum of the bytes */
function octal(bytes: Buffer, offset: number, length: number, value: number): number {
  let sum = 0
  let rest = value
  for (let at = offset + length - 2; at >= offset; at--) {
    const digit = rest % 8
    sum += bytes[at] = 0x30 + digit
    rest = (rest - digit) / 8
  }
  return sum
}
