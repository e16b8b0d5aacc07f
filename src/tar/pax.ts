import type { ByteString } from '../fs/bytes.js'
import { corrupt } from './numbers.js'

/** Records of an extended header: `<length> <key>=<value>\n`. Keys and values are bytes. */
export type PaxRecords = Map<string, ByteString>

export const XATTR_KEY = 'SCHILY.xattr.'

/**
 * Reads records. Of several with one key the last counts, and an empty value takes the key away, as POSIX has it; the
 * records of GNU sparse 0.0 repeat their keys on purpose and come out joined by commas, which is their 0.1 form.
 */
export function parsePax(bytes: Uint8Array): PaxRecords {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const records: PaxRecords = new Map()
  const sparse: string[] = []
  for (let at = 0; at < text.length;) {
    const space = text.indexOf(' ', at)
    const digits = space < 0 ? '' : text.slice(at, space)
    const length = /^\d{1,10}$/.test(digits) ? Number(digits) : 0
    const end = at + length
    const equals = text.indexOf('=', space)
    if (length === 0 || end > text.length || text[end - 1] !== '\n' || equals < 0 || equals >= end) {
      if (/^\0*$/.test(text.slice(at))) break
      throw corrupt('a PAX record is malformed')
    }
    const key = text.slice(space + 1, equals)
    const value = text.slice(equals + 1, end - 1) as ByteString
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') sparse.push(value)
    else if (value === '' && !key.startsWith(XATTR_KEY)) records.delete(key)
    else records.set(key, value)
    at = end
  }
  if (sparse.length > 0) records.set('GNU.sparse.map', sparse.join(',') as ByteString)
  return records
}

/** Writes records in the order of their keys, so that the same records are the same bytes. */
export function formatPax(records: PaxRecords): Buffer {
  const lines = [...records.keys()].toSorted().map((key) => {
    const rest = ` ${key}=${records.get(key)}\n`
    let length = rest.length
    while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length
    return length + rest
  })
  return Buffer.from(lines.join(''), 'latin1')
}
