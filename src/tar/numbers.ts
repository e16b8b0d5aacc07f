import { StoreError } from '../errors.js'

/** A numeric field of a header block: octal digits, or base-256 (GNU) if its first byte has the top bit. */
export function parseNumber(block: Uint8Array, offset: number, length: number): number {
  const first = block[offset] as number
  if ((first & 0x80) !== 0) return parseBase256(block, offset, length)
  let value = 0
  let digits = false
  for (let at = offset; at < offset + length; at++) {
    const byte = block[at] as number
    if (byte === 0x20 || byte === 0) {
      if (digits) break
      continue
    }
    if (byte < 0x30 || byte > 0x37) throw corrupt('a number has a digit that is not octal')
    value = value * 8 + (byte - 0x30)
    digits = true
  }
  return value
}

/** Two's complement, big-endian; the top bit of the first byte only marks the form. */
function parseBase256(block: Uint8Array, offset: number, length: number): number {
  const negative = ((block[offset] as number) & 0x40) !== 0
  let value = negative ? -1n : 0n
  for (let at = offset; at < offset + length; at++) {
    const byte =
      at === offset ? ((block[at] as number) & 0x7f) | (negative ? 0x80 : 0) : (block[at] as number)
    value = (value << 8n) | BigInt(byte)
  }
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
    throw corrupt('a number is out of range')
  }
  return Number(value)
}

/** A PAX time, `[-]seconds[.fraction]`, in nanoseconds; digits past the ninth are cut off. */
export function parsePaxTime(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text)
  if (match === null) throw corrupt(`a time is malformed: ${JSON.stringify(text)}`)
  const [, sign, seconds, fraction = ''] = match
  const ns = BigInt(seconds as string) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'))
  return sign === '-' ? -ns : ns
}

export function formatPaxTime(ns: bigint): string {
  const size = ns < 0n ? -ns : ns
  const fraction = (size % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '')
  const text = `${size / 1_000_000_000n}${fraction === '' ? '' : `.${fraction}`}`
  return ns < 0n ? `-${text}` : text
}

export function parseDecimal(text: string): number {
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw corrupt(`a number is malformed: ${JSON.stringify(text)}`)
  return value
}

export function corrupt(why: string): StoreError {
  return new StoreError('ARCHIVE_CORRUPT', `corrupt tar: ${why}`)
}
