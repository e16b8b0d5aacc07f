import type { ByteString } from '../fs/bytes.js'
import { corrupt, isDigit } from './numbers.js'

/** Records of an extended header: `<length> <key>=<value>\n`. Keys and values are bytes. */
export type PaxRecords = Map<string, ByteString>

const SCHILY = 'SCHILY.xattr.'
const LIBARCHIVE = 'LIBARCHIVE.xattr.'
/** Keys of names. A NUL would cut these short for some readers and not for others. */
const WITHOUT_NUL = new Set(['path', 'linkpath', 'uname', 'gname'])

/**
 * Parses records. If a key repeats, the last record counts. An empty value removes the key, except for
 * `SCHILY.xattr.*`. Go does the same; in POSIX an empty value also removes the header's own value. Records of GNU
 * sparse 0.0 repeat their keys on purpose. They become one map in the form of 0.1.
 * @returns `undefined` if there are more than `maxRecords` records, apart from those of GNU sparse 0.0
 */
export function parsePax(bytes: Buffer, maxRecords: number): PaxRecords | undefined {
  const records: PaxRecords = new Map()
  const map: string[] = []
  let count = 0
  for (let at = 0; at < bytes.length;) {
    if (++count > maxRecords + map.length) return undefined
    const { key, value, end } = parseRecord(bytes, at)
    at = end
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
      if ((map.length % 2 === 0) !== (key === 'GNU.sparse.offset') || value.includes(',')) {
        throw corrupt('a sparse map is malformed')
      }
      map.push(value)
    } else if (value === '' && !key.startsWith(SCHILY)) records.delete(key)
    else records.set(key, value)
  }
  if (map.length > 0) records.set('GNU.sparse.map', map.join(',') as ByteString)
  return records
}

function parseRecord(bytes: Buffer, at: number): { key: string; value: ByteString; end: number } {
  let space = at
  let length = 0
  for (; isDigit(bytes[space]); space++) length = length * 10 + (bytes[space] as number) - 0x30
  const end = at + length
  if (space === at || bytes[space] !== 0x20 || length < 5 || end > bytes.length || bytes[end - 1] !== 0x0a) {
    throw corrupt('a PAX record is malformed')
  }
  const equals = bytes.indexOf(0x3d, space)
  if (equals <= space + 1 || equals >= end) throw corrupt('a PAX record has no key')
  const key = bytes.toString('latin1', space + 1, equals)
  const value = bytes.toString('latin1', equals + 1, end - 1) as ByteString
  if (key.includes('\0') || (WITHOUT_NUL.has(key) && value.includes('\0'))) {
    throw corrupt('a PAX record contains a NUL byte')
  }
  return { key, value, end }
}

/** Writes records sorted by key, so that the same records give the same bytes. */
export function formatPax(records: PaxRecords): ByteString {
  let text = ''
  for (const key of records.size === 1 ? records.keys() : [...records.keys()].toSorted()) {
    const rest = ` ${key}=${records.get(key)}\n`
    let length = rest.length
    while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length
    text += length + rest
  }
  return text as ByteString
}

/**
 * Returns the xattrs among the records. star's records win: all readers know them, and their values are bytes.
 * Libarchive's records, in base64, supply the names that star's lack. Go reads only star's.
 */
export function xattrsOf(records: PaxRecords): Map<ByteString, Buffer> {
  const xattrs = new Map<ByteString, Buffer>()
  for (const [key, value] of records) {
    if (key.startsWith(SCHILY)) xattrs.set(unescaped(key.slice(SCHILY.length)), Buffer.from(value, 'latin1'))
  }
  for (const [key, value] of records) {
    if (!key.startsWith(LIBARCHIVE)) continue
    const name = key
      .slice(LIBARCHIVE.length)
      .replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    if (!xattrs.has(name as ByteString)) xattrs.set(name as ByteString, Buffer.from(value, 'base64'))
  }
  return xattrs
}

export function xattrRecord(name: ByteString, value: Buffer): [key: string, value: ByteString] {
  return [SCHILY + escaped(name), value.toString('latin1') as ByteString]
}

/**
 * A key cannot hold a `=`. GNU tar writes `%3D` for it, and `%25` for `%`. We escape only names that could not be read
 * back otherwise, because Go takes every name literally.
 */
function escaped(name: ByteString): string {
  return /=|%25|%3D/.test(name) ? name.replaceAll('%', '%25').replaceAll('=', '%3D') : name
}

function unescaped(name: string): ByteString {
  return name.replaceAll('%3D', '=').replaceAll('%25', '%') as ByteString
}
