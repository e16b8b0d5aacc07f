import { isUtf8 } from 'node:buffer'
import { toBytes, type ByteString, bytesToBuffer } from '../fs/bytes.js'
import { isDigit } from './numbers.js'

/** One line of a tar-split file, as tar-split's storage.Entry writes it (version 2 of its JSON). */
export type SplitEntry =
  /** Bytes of the tar that no file holds. */
  | { readonly type: 'segment'; readonly bytes: Buffer; readonly position: number }
  /** An entry of the tar. Its content, if any, is in the layer's file of that name and has this checksum. */
  | {
      readonly type: 'file'
      readonly name: ByteString
      readonly size: number
      readonly checksum: Buffer | undefined
      readonly position: number
    }

interface Line {
  readonly type: number
  readonly name?: string
  readonly name_raw?: string
  readonly size?: number
  readonly payload: string | null
  readonly position: number
}

export function formatSegment(bytes: Uint8Array, position: number): string {
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  return `{"type":2,"payload":"${payload}","position":${position}}\n`
}

export function formatFile(
  name: ByteString,
  size: number,
  checksum: Buffer | undefined,
  position: number,
): string {
  const named = PLAIN.test(name) ? `"name":"${name}",` : formatName(name)
  const sized = size === 0 ? '' : `"size":${size},`
  const payload = checksum === undefined ? 'null' : `"${checksum.toString('base64')}"`
  return `{"type":1,${named}${sized}"payload":${payload},"position":${position}}\n`
}

/** Names that need no escapes in JSON, neither in JavaScript nor in Go. */
const PLAIN = /^[\w./@+ -]+$/

function formatName(name: ByteString): string {
  if (name === '') return ''
  const bytes = bytesToBuffer(name)
  return isUtf8(bytes) ? `"name":${goString(bytes)},` : `"name_raw":"${bytes.toString('base64')}",`
}

export const NEWLINE = 0x0a
/** `formatSegment` and Go write a segment's payload between these two, and its position after them. */
const SEGMENT = Buffer.from('{"type":2,"payload":"')
const POSITION = Buffer.from('","position":')

/**
 * Parses whole lines, and skips empty ones. Throws the errors of `JSON.parse`, and `TypeError` for a line of another
 * shape.
 */
export function parseLines(lines: Buffer): SplitEntry[] {
  const entries: SplitEntry[] = []
  for (let at = 0; at < lines.length;) {
    const newline = lines.indexOf(NEWLINE, at)
    const end = newline < 0 ? lines.length : newline
    if (end > at) entries.push(parseSegment(lines, at, end) ?? parseJson(lines.toString('utf8', at, end)))
    at = end + 1
  }
  return entries
}

/** Most of a file is base64, which is not parsed as JSON. Returns `undefined` if the line is formatted differently. */
function parseSegment(lines: Buffer, start: number, end: number): SplitEntry | undefined {
  let digits = end - 1
  if (lines[digits] !== CLOSING || !isAt(lines, start, SEGMENT)) return undefined
  let position = 0
  for (let unit = 1; isDigit(lines[digits - 1]); unit *= 10)
    position += unit * ((lines[--digits] as number) - ZERO)
  const from = start + SEGMENT.length
  const to = digits - POSITION.length
  if (digits === end - 1 || to < from || !isAt(lines, to, POSITION)) return undefined
  const bytes = Buffer.from(lines.toString('latin1', from, to), 'base64')
  // The decoder skips what is not base64. A shorter result means that the payload has escapes.
  return bytes.length === decodedLength(lines, from, to) ? { type: 'segment', bytes, position } : undefined
}

const CLOSING = 0x7d
const ZERO = 0x30
const PADDING = 0x3d

function isAt(lines: Buffer, at: number, text: Buffer): boolean {
  for (let i = 0; i < text.length; i++) if (lines[at + i] !== text[i]) return false
  return true
}

function decodedLength(lines: Buffer, from: number, to: number): number {
  let padding = 0
  while (padding < 2 && lines[to - 1 - padding] === PADDING) padding++
  return ((to - from) / 4) * 3 - padding
}

function parseJson(text: string): SplitEntry {
  const line = JSON.parse(text) as Line
  if (line.type === 2)
    return { type: 'segment', bytes: Buffer.from(line.payload ?? '', 'base64'), position: line.position }
  if (line.type !== 1) throw new TypeError(`a tar-split line has the unknown type ${line.type}`)
  return {
    type: 'file',
    name:
      line.name_raw === undefined ? toBytes(line.name ?? '') : toBytes(Buffer.from(line.name_raw, 'base64')),
    size: line.size ?? 0,
    checksum: line.payload === null ? undefined : Buffer.from(line.payload, 'base64'),
    position: line.position,
  }
}

/** Go's encoding/json escapes more characters than JavaScript does. */
function goString(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('utf8')).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
