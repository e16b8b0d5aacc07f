import { MAX_ID } from '../attributes.js'
import type { FileData, Mode } from './layer-fs.js'

/** Modes of new files and directories if the caller gives none. The umask of the process has no effect. */
export const FILE_MODE = 0o644
export const DIRECTORY_MODE = 0o755

const MAX_UINT32 = 0xffff_ffff

/** Returns the permission bits of a caller's mode. Throws as Node does. */
export function permissionsOf(mode: Mode | null | undefined, otherwise?: number): number {
  if (mode == null && otherwise !== undefined) return otherwise
  if (typeof mode === 'string') {
    if (/^[0-7]+$/.test(mode)) return Number.parseInt(mode, 8) & 0o7777
    const message = `The argument 'mode' must be a 32-bit unsigned integer or an octal string. Received '${mode}'`
    throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  return integer('mode', mode, 0, MAX_UINT32) & 0o7777
}

/** Accepts IDs from 0 to 2^32 - 2, and -1, which leaves the file's ID unchanged. */
export function checkOwner(uid: number, gid: number): void {
  integer('uid', uid, -1, MAX_ID)
  integer('gid', gid, -1, MAX_ID)
}

/** Throws as Node does if `value` is not an integer from `least` to `most`. */
export function integer(name: string, value: unknown, least: number, most: number): number {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value)
  if (Number.isInteger(value) && value >= least && value <= most) return value
  const range = Number.isInteger(value) ? `>= ${least} && <= ${most}` : 'an integer'
  const message = `The value of "${name}" is out of range. It must be ${range}. Received ${value}`
  throw Object.assign(new RangeError(message), { code: 'ERR_OUT_OF_RANGE' })
}

/** Returns the bytes of any array buffer view. */
export function viewOf(view: ArrayBufferView): Uint8Array {
  if (view instanceof Uint8Array) return view
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

/** Returns the bytes of data in memory, or `undefined` for an iterable. Throws as Node does for anything else. */
export function bytesOf(data: FileData, encoding: BufferEncoding): Uint8Array | undefined {
  if (typeof data === 'string') return Buffer.from(data, encoding)
  if (ArrayBuffer.isView(data)) return viewOf(data)
  if (isIterable(data)) return undefined
  throw invalidType('data', 'a string, an ArrayBufferView or an iterable of them', data)
}

/** As `bytesOf`, for one chunk of an iterable. A chunk is never an iterable itself. */
export function bytesOfChunk(chunk: unknown, encoding: BufferEncoding): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk, encoding)
  if (ArrayBuffer.isView(chunk)) return viewOf(chunk)
  throw invalidType('chunk', 'a string or an ArrayBufferView', chunk)
}

export function invalidType(name: string, wanted: string, value: unknown): TypeError {
  const received = value === null || value === undefined ? String(value) : `type ${typeof value}`
  return Object.assign(new TypeError(`The "${name}" argument must be ${wanted}. Received ${received}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

function isIterable(data: unknown): boolean {
  if (typeof data !== 'object' || data === null) return false
  return Symbol.iterator in data || Symbol.asyncIterator in data
}
