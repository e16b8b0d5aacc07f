import type { ByteString } from '../fs/bytes.js'
import { corrupt, parseDecimal, parseNumber, parsePaxTime } from './numbers.js'
import type { TarEntryType, TarHeader } from './part.js'
import { XATTR_KEY, type PaxRecords } from './pax.js'

export const BLOCK = 512
const NO_DEVICE = { major: 0, minor: 0 }
const NO_XATTRS: ReadonlyMap<ByteString, Buffer> = new Map()

/** One header block, not yet overridden by what stood before it. */
export interface HeaderBlock {
  readonly typeFlag: string
  readonly header: TarHeader
  /** Old GNU sparse: the map goes on in blocks that follow. */
  readonly sparseContinues: boolean
}

/** `undefined` for a block of zeros. */
export function parseBlock(block: Buffer): HeaderBlock | undefined {
  if (!checksumHolds(block)) {
    if (isZeros(block)) return undefined
    throw corrupt('a header has a wrong checksum')
  }
  const typeFlag = String.fromCharCode(block[156] as number)
  const posix = block.toString('latin1', 257, 263) === 'ustar\0'
  const gnu = block.toString('latin1', 257, 265) === 'ustar  \0'
  const prefix = posix ? text(block, 345, prefixLength(block)) : ''
  const name = text(block, 0, 100)
  const size = parseNumber(block, 124, 12)
  if (size < 0) throw corrupt('a size is negative')
  const type = typeOf(typeFlag)
  const device = type === 'char' || type === 'block'
  const header: TarHeader = {
    name: (prefix === '' ? name : `${prefix}/${name}`) as ByteString,
    type,
    mode: parseNumber(block, 100, 8) & 0o7777,
    uid: parseNumber(block, 108, 8),
    gid: parseNumber(block, 116, 8),
    userName: (posix || gnu ? text(block, 265, 32) : '') as ByteString,
    groupName: (posix || gnu ? text(block, 297, 32) : '') as ByteString,
    size: hasContent(typeFlag) ? size : 0,
    mtimeNs: BigInt(parseNumber(block, 136, 12)) * 1_000_000_000n,
    linkName: text(block, 157, 100),
    device:
      device && (posix || gnu)
        ? { major: parseNumber(block, 329, 8), minor: parseNumber(block, 337, 8) }
        : NO_DEVICE,
    xattrs: NO_XATTRS,
    ...(typeFlag === 'S' && {
      sparse: { size: parseNumber(block, 483, 12), pieces: sparsePieces(block, 386, 4), mapInContent: false },
    }),
  }
  return { typeFlag, header, sparseContinues: typeFlag === 'S' && block[482] === 1 }
}

/** What extension headers said before this header overrides what it says itself. */
export function withExtensions(
  header: TarHeader,
  pax: PaxRecords | undefined,
  longName: ByteString | undefined,
  longLink: ByteString | undefined,
): TarHeader {
  const named = {
    ...header,
    ...(longName !== undefined && { name: longName }),
    ...(longLink !== undefined && { linkName: longLink }),
  }
  const result = pax === undefined || pax.size === 0 ? named : withPax(named, pax)
  // Old tars have directories so. Only the whole name tells: a long one may be cut at a slash in the header block.
  const isDirectory = result.type === 'file' && result.sparse === undefined && result.name.endsWith('/')
  return isDirectory ? { ...result, type: 'directory' } : result
}

function withPax(header: TarHeader, pax: PaxRecords): TarHeader {
  const has = <T>(key: string, parse: (value: ByteString) => T, otherwise: T): T => {
    const value = pax.get(key)
    return value === undefined ? otherwise : parse(value)
  }
  const same = (value: ByteString) => value
  const atime = pax.get('atime')
  const sparse = sparseFrom(pax)
  return {
    ...header,
    name: has('GNU.sparse.name', same, has('path', same, header.name)),
    linkName: has('linkpath', same, header.linkName),
    size: carriesContent(header) ? has('size', parseDecimal, header.size) : header.size,
    uid: has('uid', parseDecimal, header.uid),
    gid: has('gid', parseDecimal, header.gid),
    userName: has('uname', same, header.userName),
    groupName: has('gname', same, header.groupName),
    mtimeNs: has('mtime', parsePaxTime, header.mtimeNs),
    ...(atime !== undefined && { atimeNs: parsePaxTime(atime) }),
    device: {
      major: has('SCHILY.devmajor', parseDecimal, header.device.major),
      minor: has('SCHILY.devminor', parseDecimal, header.device.minor),
    },
    xattrs: xattrsOf(pax),
    ...(sparse !== undefined && { sparse }),
  }
}

/** PAX sparse 0.0 and 0.1; 1.0 has its map in the content, and the reader finds it there (`major` is 1). */
function sparseFrom(pax: PaxRecords): TarHeader['sparse'] {
  const map = pax.get('GNU.sparse.map')
  const size = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size')
  if (pax.get('GNU.sparse.major') === '1')
    return { size: parseDecimal(size ?? '0'), pieces: [], mapInContent: true }
  if (map === undefined) return undefined
  const numbers = map === '' ? [] : map.split(',').map(parseDecimal)
  if (numbers.length % 2 !== 0) throw corrupt('a sparse map is malformed')
  const pieces = []
  for (let at = 0; at < numbers.length; at += 2) {
    pieces.push({ offset: numbers[at] as number, length: numbers[at + 1] as number })
  }
  return { size: parseDecimal(size ?? '0'), pieces, mapInContent: false }
}

function xattrsOf(pax: PaxRecords): ReadonlyMap<ByteString, Buffer> {
  let xattrs: Map<ByteString, Buffer> | undefined
  for (const [key, value] of pax) {
    if (!key.startsWith(XATTR_KEY)) continue
    xattrs ??= new Map()
    xattrs.set(key.slice(XATTR_KEY.length) as ByteString, Buffer.from(value, 'latin1'))
  }
  return xattrs ?? NO_XATTRS
}

export function sparsePieces(
  block: Buffer,
  offset: number,
  count: number,
): { offset: number; length: number }[] {
  const pieces = []
  for (let index = 0; index < count; index++) {
    const at = offset + index * 24
    if (block[at] === 0) break
    pieces.push({ offset: parseNumber(block, at, 12), length: parseNumber(block, at + 12, 12) })
  }
  return pieces
}

function typeOf(flag: string): TarEntryType {
  switch (flag) {
    case '0':
    case '\0':
    case '7':
    case 'S':
      return 'file'
    case '1':
      return 'link'
    case '2':
      return 'symlink'
    case '3':
      return 'char'
    case '4':
      return 'block'
    case '5':
      return 'directory'
    case '6':
      return 'fifo'
    default:
      return 'unknown'
  }
}

/** The size of these types is not of content that follows (Go's isHeaderOnlyType). */
function hasContent(flag: string): boolean {
  return !'123456'.includes(flag)
}

function carriesContent({ type }: TarHeader): boolean {
  return type === 'file' || type === 'unknown'
}

function text(block: Buffer, offset: number, length: number): ByteString {
  const end = block.indexOf(0, offset)
  return block.toString(
    'latin1',
    offset,
    end < 0 || end > offset + length ? offset + length : end,
  ) as ByteString
}

/** star keeps times in the last bytes of the prefix. */
function prefixLength(block: Buffer): number {
  return block.toString('latin1', 508, 512) === 'tar\0' ? 131 : 155
}

function checksumHolds(block: Buffer): boolean {
  let unsigned = 0
  for (let at = 0; at < 148; at++) unsigned += block[at] as number
  for (let at = 156; at < BLOCK; at++) unsigned += block[at] as number
  unsigned += 8 * 0x20
  let stated: number
  try {
    stated = parseNumber(block, 148, 8)
  } catch {
    return false
  }
  return stated === unsigned || stated === signedSum(block)
}

/** Some old tars added up signed bytes. */
function signedSum(block: Buffer): number {
  let sum = 8 * 0x20
  for (let at = 0; at < BLOCK; at++) {
    if (at < 148 || at >= 156) sum += ((block[at] as number) << 24) >> 24
  }
  return sum
}

function isZeros(block: Buffer): boolean {
  for (let at = 0; at < BLOCK; at++) if (block[at] !== 0) return false
  return true
}
