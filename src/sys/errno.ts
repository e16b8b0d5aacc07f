import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import { lastErrno, type HostPath } from './libc.js'

/** An error as `node:fs` throws it: `code`, negative `errno`, `syscall`, `path`, and Node's own words. */
export function systemError(
  code: string,
  syscall: string,
  path?: HostPath,
  dest?: HostPath,
): NodeJS.ErrnoException {
  const number = (constants.errno as Readonly<Record<string, number>>)[code] ?? 0
  const words = getSystemErrorMap().get(-number)?.[1] ?? 'unknown error'
  const places = [path, dest].filter((place) => place !== undefined).map((place) => `'${place.toString()}'`)
  const message = `${code}: ${words}, ${syscall}${places.length > 0 ? ` ${places.join(' -> ')}` : ''}`
  return Object.assign(new Error(message), {
    code,
    errno: -number,
    syscall,
    ...(path !== undefined && { path: path.toString() }),
    ...(dest !== undefined && { dest: dest.toString() }),
  })
}

/** Throws what errno says of the call that just returned `-1`; else gives its result. */
export function checked(result: number, syscall: string, path?: HostPath, dest?: HostPath): number {
  if (result < 0) throw systemError(errnoName(lastErrno()), syscall, path, dest)
  return result
}

export function errnoName(number: number): string {
  let name = asked.get(number)
  if (name === undefined) {
    name = getSystemErrorMap().get(-number)?.[0] ?? NAMES.get(number) ?? `E${number}`
    asked.set(number, name)
  }
  return name
}

/** Node makes its table anew at each call. */
const asked = new Map<number, string>()

/** What libuv has no name for. */
const NAMES = new Map([
  [39, 'ENOTEMPTY'],
  [61, 'ENODATA'],
  [95, 'EOPNOTSUPP'],
  [116, 'ESTALE'],
  [117, 'EUCLEAN'],
  [122, 'EDQUOT'],
])
