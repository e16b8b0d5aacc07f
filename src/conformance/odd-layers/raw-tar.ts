/**
 * Builds tars whose headers can say anything, right or wrong, without using the library. Text stands for bytes, one per
 * character.
 */

/** Numbers are written in octal, or in base-256 if they do not fit. Text is written as it is. */
type Field = number | bigint | string

export interface BlockFields {
  readonly name?: string
  readonly mode?: Field
  readonly uid?: Field
  readonly gid?: Field
  readonly size?: Field
  readonly mtime?: Field
  readonly flag?: string
  readonly link?: string
  /** @default 'ustar' */
  readonly magic?: keyof typeof MAGICS
  readonly userName?: string
  readonly groupName?: string
  readonly major?: Field
  readonly minor?: Field
  readonly prefix?: string
  /** Text written over the other fields, at these offsets. */
  readonly over?: readonly (readonly [offset: number, text: string])[]
  /** @default 'right' */
  readonly checksum?: 'right' | 'signed' | 'wrong'
}

const BLOCK = 512
const MAGICS = { v7: '', ustar: 'ustar\x0000', star: 'ustar\x0000', gnu: 'ustar  \0' } as const

/** Two blocks of zeros. */
export const END: Buffer = Buffer.alloc(2 * BLOCK)
/** A time in 2001, in seconds. */
export const MTIME = 1_000_000_000

/** Joins the pieces, and adds an end marker. */
export function tar(...pieces: readonly Buffer[]): Buffer {
  return Buffer.concat([...pieces, END])
}

export function block(fields: BlockFields = {}): Buffer {
  const { magic = 'ustar', checksum = 'right' } = fields
  const bytes = Buffer.alloc(BLOCK)
  const put = (offset: number, text: string) => bytes.write(text, offset, 'latin1')
  put(0, fields.name ?? '')
  put(100, field(fields.mode ?? 0o644, 8))
  put(108, field(fields.uid ?? 0, 8))
  put(116, field(fields.gid ?? 0, 8))
  put(124, field(fields.size ?? 0, 12))
  put(136, field(fields.mtime ?? MTIME, 12))
  put(156, fields.flag ?? '0')
  put(157, fields.link ?? '')
  put(257, MAGICS[magic])
  put(265, fields.userName ?? '')
  put(297, fields.groupName ?? '')
  if (magic !== 'v7') put(329, field(fields.major ?? 0, 8) + field(fields.minor ?? 0, 8))
  put(345, fields.prefix ?? '')
  if (magic === 'star') put(508, 'tar\0')
  for (const [offset, text] of fields.over ?? []) put(offset, text)
  put(148, ' '.repeat(8))
  put(148, field(sum(bytes, checksum), 7))
  return bytes
}

function sum(bytes: Buffer, checksum: 'right' | 'signed' | 'wrong'): number {
  const all = bytes.reduce((total, byte) => total + (checksum === 'signed' ? (byte << 24) >> 24 : byte), 0)
  return checksum === 'wrong' ? all + 1 : all
}

/** A file's block and its content. `fields` may state another size. */
export function file(name: string, content: string | Buffer = '', fields: BlockFields = {}): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'latin1') : content
  return Buffer.concat([block({ name, size: bytes.length, ...fields }), padded(bytes)])
}

export const directory = (name: string, fields: BlockFields = {}): Buffer =>
  block({ name: `${name}/`, flag: '5', mode: 0o755, ...fields })
export const symlink = (name: string, link: string, fields: BlockFields = {}): Buffer =>
  block({ name, link, flag: '2', mode: 0o777, ...fields })
export const hardLink = (name: string, link: string, fields: BlockFields = {}): Buffer =>
  block({ name, link, flag: '1', ...fields })

/** A GNU long name (`L`) or long link (`K`) for the next block. */
export function gnuLong(flag: 'L' | 'K', text: string): Buffer {
  return file('././@LongLink', `${text}\0`, { flag, magic: 'gnu' })
}

/** A PAX header for the next block; with flag `g` for all. */
export function pax(
  records: readonly (readonly [key: string, value: string])[],
  flag = 'x',
  name = 'PaxHeaders/x',
): Buffer {
  return file(name, records.map((record) => paxRecord(...record)).join(''), { flag })
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length
  return `${length}${rest}`
}

/** Pads with zeros to whole blocks. */
export function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)])
}

/** Two's complement in `length` bytes, with the top bit of the first byte set. */
export function base256(value: number | bigint, length: number): string {
  const bits = BigInt.asUintN(8 * length, BigInt(value)) | (0x80n << BigInt(8 * (length - 1)))
  const digits = bits.toString(16).padStart(2 * length, '0')
  return Buffer.from(digits, 'hex').toString('latin1')
}

function field(value: Field, length: number): string {
  if (typeof value === 'string') return value
  const digits = value.toString(8).padStart(length - 1, '0')
  return value >= 0 && digits.length < length ? `${digits}\0` : base256(value, length)
}
