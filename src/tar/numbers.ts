import { StoreError } from '../errors.js'

const BILLION = 1_000_000_000n

/**
 * Parses a numeric field of a header block: octal digits between blanks (spaces, NULs), or base-256 (GNU) if the top
 * bit of the first byte is set. As in Go, anything else is an error; other readers return 0. A value past 2^53 is also
 * an error; Go accepts values up to 2^63.
 */
export function parseNumber(block: Uint8Array, offset: number, length: number): number {
  if (((block[offset] as number) & 0x80) !== 0) return parseBase256(block, offset, length)
  const end = offset + length
  let at = offset
  while (at < end && isBlank(block[at] as number)) at++
  let value = 0
  for (; at < end; at++) {
    const digit = (block[at] as number) - 0x30
    if (digit < 0 || digit > 7) break
    value = value * 8 + digit
  }
  if (at < end && block[at] !== 0 && !isBlankUntil(block, at, end)) {
    throw corrupt('a number in a header is not octal')
  }
  return value
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0
}

function isBlankUntil(block: Uint8Array, offset: number, end: number): boolean {
  for (let at = offset; at < end; at++) if (!isBlank(block[at] as number)) return false
  return true
}

/** Two's complement, big-endian. The top bit of the first byte only marks the format. */
function parseBase256(block: Uint8Array, offset: number, length: number): number {
  const first = (block[offset] as number) & 0x7f
  let value = BigInt((first & 0x40) === 0 ? first : first - 0x80)
  for (let at = offset + 1; at < offset + length; at++) value = (value << 8n) | BigInt(block[at] as number)
  const number = Number(value)
  if (!Number.isSafeInteger(number)) throw corrupt('a number in a header is out of range')
  return number
}

export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

/**
 * Parses a number of a PAX record: decimal digits, with a `-` if it is negative. Rejects a `+` as GNU tar does; Go
 * accepts it.
 */
export function parseDecimal(text: string): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw corrupt(`a number is malformed: ${quoted(text)}`)
  // Turns -0 into 0.
  return value + 0
}

/** Parses a PAX time, `[-]seconds[.fraction]`, to nanoseconds. Digits past the ninth are cut off. */
export function parsePaxTime(text: string): bigint {
  const match = /^(-?\d+)(?:\.(\d*))?$/.exec(text)
  if (match === null) throw corrupt(`a time is malformed: ${quoted(text)}`)
  const [, seconds = '', fraction = ''] = match
  const whole = BigInt(parseDecimal(seconds)) * BILLION
  const part = BigInt(fraction.slice(0, 9).padEnd(9, '0'))
  return seconds.startsWith('-') ? whole - part : whole + part
}

export function formatPaxTime(ns: bigint): string {
  const size = ns < 0n ? -ns : ns
  let fraction = Number(size % BILLION)
  let digits = 9
  if (fraction === 0) digits = 0
  for (; digits > 0 && fraction % 10 === 0; digits--) fraction /= 10
  const text = digits === 0 ? '' : `.${`${fraction}`.padStart(digits, '0')}`
  return `${ns < 0n ? '-' : ''}${size / BILLION}${text}`
}

export function corrupt(why: string): StoreError {
  return new StoreError('ARCHIVE_CORRUPT', `corrupt tar: ${why}`)
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)
}
