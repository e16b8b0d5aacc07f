import { constants } from 'node:fs'

export const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY } = constants
/** Mask of the access mode: read, write or both. */
export const O_ACCMODE = 3

const { O_RDWR, O_SYNC } = constants
const NAMED: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  rs: O_RDONLY | O_SYNC,
  'r+': O_RDWR,
  'rs+': O_RDWR | O_SYNC,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  wx: O_WRONLY | O_CREAT | O_TRUNC | O_EXCL,
  'w+': O_RDWR | O_CREAT | O_TRUNC,
  'wx+': O_RDWR | O_CREAT | O_TRUNC | O_EXCL,
  a: O_WRONLY | O_CREAT | O_APPEND,
  ax: O_WRONLY | O_CREAT | O_APPEND | O_EXCL,
  as: O_WRONLY | O_CREAT | O_APPEND | O_SYNC,
  'a+': O_RDWR | O_CREAT | O_APPEND,
  'ax+': O_RDWR | O_CREAT | O_APPEND | O_EXCL,
  'as+': O_RDWR | O_CREAT | O_APPEND | O_SYNC,
}

/** Converts Node's names of open flags to open(2) bits. Returns a number unchanged. */
export function parseFlags(flags: string | number): number {
  if (typeof flags === 'number') return flags
  const bits = NAMED[flags]
  if (bits === undefined) throw new TypeError(`unknown file open flag: ${flags}`)
  return bits
}
