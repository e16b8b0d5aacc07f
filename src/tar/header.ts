import type { ByteString } from '../fs/bytes.js'
import type { DeviceNumber } from '../fs/sync-fs.js'
import { BLOCK } from './block.js'
import { corrupt, parseDecimal, parseNumber, parsePaxTime } from './numbers.js'
import type { TarEntryType, TarHeader } from './part.js'
import { xattrsOf, type PaxRecords } from './pax.js'
import { paxSparse } from './sparse-map.js'

/** A parsed header block. */
export type HeaderBlock = EntryBlock | ExtensionBlock

/** The header of an entry. Extension headers before it may override it. */
export interface EntryBlock {
  readonly flag: string
  readonly format: Format
  readonly header: Writable<TarHeader>
}

/** An extension header. It applies to the entry that follows. */
interface ExtensionBlock {
  readonly flag: ExtensionFlag
  readonly size: number
  readonly header?: undefined
}

/**
 * `x`, `X`: PAX records of one entry (`X` as Solaris writes it). `g`: PAX records of all entries. `L`: a long name.
 * `K`: a long link name.
 */
export type ExtensionFlag = 'x' | 'X' | 'g' | 'L' | 'K'

type Format = 'v7' | 'ustar' | 'star' | 'gnu'
type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** The contents of extension headers for the entry that follows them. */
export interface Extensions {
  pax?: PaxRecords
  longName?: ByteString
  longLink?: ByteString
}

const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 }
const NO_XATTRS: ReadonlyMap<ByteString, Buffer> = new Map()
const NOTHING = '' as ByteString
const BILLION = 1_000_000_000n

export function parseBlock(block: Buffer): HeaderBlock {
  if (!checksumHolds(block)) throw corrupt('a header has a wrong checksum')
  const format = formatOf(block)
  const flag = String.fromCharCode(block[156] as number)
  const isV7 = format === 'v7'
  const major = isV7 ? 0 : parseNumber(block, 329, 8)
  const minor = isV7 ? 0 : parseNumber(block, 337, 8)
  const mode = parseNumber(block, 100, 8) & 0o7777
  const uid = parseNumber(block, 108, 8)
  const gid = parseNumber(block, 116, 8)
  const size = parseNumber(block, 124, 12)
  const mtime = parseNumber(block, 136, 12)
  if (isExtension(flag)) return { flag, size }
  const type = TYPES[flag] ?? 'unknown'
  const header = {
    name: nameOf(block, format),
    type,
    mode,
    uid,
    gid,
    userName: isV7 ? NOTHING : text(block, 265, 32),
    groupName: isV7 ? NOTHING : text(block, 297, 32),
    size,
    mtimeNs: BigInt(mtime) * BILLION,
    linkName: text(block, 157, 100),
    device: isDevice(type) ? { major, minor } : NO_DEVICE,
    xattrs: NO_XATTRS,
  }
  return { flag, format, header }
}

function isExtension(flag: string): flag is ExtensionFlag {
  return flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K' || flag === 'X'
}

/**
 * `7` is a contiguous file, which GNU's documentation lets readers treat as a plain file. `S` is a sparse file. `D` is
 * a directory of an incremental GNU archive, whose content lists the names in it.
 */
const TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
  D: 'directory',
}

/**
 * Returns the entry's header, with extension headers overriding the block. A GNU long name wins over a path in PAX
 * records, as in Go. A file with v7's typeflag NUL whose name ends in a slash is a directory; with typeflag `0` it is a
 * file.
 */
export function overridden({ header, flag }: EntryBlock, { pax, longName, longLink }: Extensions): TarHeader {
  if (pax !== undefined) applyPax(header, pax)
  if (longName !== undefined && longName !== '') header.name = longName
  if (longLink !== undefined && longLink !== '') header.linkName = longLink
  if (flag === '\0' && header.name.endsWith('/')) header.type = 'directory'
  if (header.type !== 'file' && header.type !== 'unknown' && flag !== 'D') header.size = 0
  if (header.size < 0) throw corrupt('a size is negative')
  if (pax !== undefined && flag !== 'S') applyPaxSparse(header, pax)
  return header
}

function applyPax(header: Writable<TarHeader>, pax: PaxRecords): void {
  let { major, minor } = header.device
  for (const [key, value] of pax) {
    switch (key) {
      case 'path':
        header.name = value
        break
      case 'linkpath':
        header.linkName = value
        break
      case 'size':
        header.size = parseDecimal(value)
        break
      case 'uid':
        header.uid = parseDecimal(value)
        break
      case 'gid':
        header.gid = parseDecimal(value)
        break
      case 'uname':
        header.userName = value
        break
      case 'gname':
        header.groupName = value
        break
      case 'mtime':
        header.mtimeNs = parsePaxTime(value)
        break
      case 'atime':
        header.atimeNs = parsePaxTime(value)
        break
      case 'SCHILY.devmajor':
        major = parseDecimal(value)
        break
      case 'SCHILY.devminor':
        minor = parseDecimal(value)
    }
  }
  if (isDevice(header.type)) header.device = { major, minor }
  const xattrs = xattrsOf(pax)
  if (xattrs.size > 0) header.xattrs = xattrs
}

function applyPaxSparse(header: Writable<TarHeader>, pax: PaxRecords): void {
  const name = pax.get('GNU.sparse.name') ?? header.name
  const sparse = paxSparse(name, pax, header.size)
  if (sparse === undefined) return
  if (header.type !== 'file') throw corrupt(`a sparse entry has type ${header.type} instead of file`)
  header.sparse = sparse
  header.name = name
}

function isDevice(type: TarEntryType): boolean {
  return type === 'char' || type === 'block'
}

function formatOf(block: Buffer): Format {
  // "ustar"
  const magic =
    block[257] === 0x75 &&
    block[258] === 0x73 &&
    block[259] === 0x74 &&
    block[260] === 0x61 &&
    block[261] === 0x72
  if (!magic) return 'v7'
  if (block[262] === 0) return block.toString('latin1', 508, 512) === 'tar\0' ? 'star' : 'ustar'
  return block[262] === 0x20 && block[263] === 0x20 && block[264] === 0 ? 'gnu' : 'v7'
}

function nameOf(block: Buffer, format: Format): ByteString {
  const name = text(block, 0, 100)
  const prefix = prefixOf(block, format)
  return prefix === '' ? name : (`${prefix}/${name}` as ByteString)
}

function prefixOf(block: Buffer, format: Format): ByteString {
  if (block[345] === 0 || format === 'v7') return NOTHING
  if (format === 'ustar') return text(block, 345, 155)
  // star stores times in the last bytes of the prefix. GNU uses all of the prefix for other fields.
  if (format === 'star') return text(block, 345, 131)
  return isPrefixOfOldGo(block) ? text(block, 345, 155) : NOTHING
}

/** Before version 1.8, Go's writer put a prefix into GNU headers (golang/go#12594). */
function isPrefixOfOldGo(block: Buffer): boolean {
  try {
    parseNumber(block, 345, 12)
    if (block[357] !== 0) parseNumber(block, 357, 12)
    return false
  } catch {
    // oxlint-disable-next-line no-control-regex
    return /^[\x01-\x7f]*$/.test(text(block, 345, 155))
  }
}

function text(block: Buffer, offset: number, length: number): ByteString {
  let end = offset
  while (end < offset + length && block[end] !== 0) end++
  return (end === offset ? '' : block.toString('latin1', offset, end)) as ByteString
}

/** Offset of the checksum field. Its eight bytes count as spaces. */
const CHECKSUM = 148

function checksumHolds(block: Buffer): boolean {
  let sum = 8 * 0x20 - sumOfEight(block, CHECKSUM)
  for (let at = 0; at < BLOCK; at += 8) sum += sumOfEight(block, at)
  const stated = parseNumber(block, CHECKSUM, 8)
  return stated === sum || stated === sum - 256 * highBytes(block)
}

/** Unrolled, because summing dominates the cost of reading a header and a loop takes twice as long. */
function sumOfEight(block: Buffer, at: number): number {
  return (
    (block[at] as number) +
    (block[at + 1] as number) +
    (block[at + 2] as number) +
    (block[at + 3] as number) +
    (block[at + 4] as number) +
    (block[at + 5] as number) +
    (block[at + 6] as number) +
    (block[at + 7] as number)
  )
}

/** Counts bytes above 0x7f outside the checksum field. Sun's old tar summed signed bytes. */
function highBytes(block: Buffer): number {
  let count = 0
  for (let at = 0; at < BLOCK; at++) if ((at < 148 || at >= 156) && (block[at] as number) > 0x7f) count++
  return count
}
