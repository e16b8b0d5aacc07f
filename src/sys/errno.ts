import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import { lastErrno, type HostPath } from './libc.js'

/** Creates an error like those of `node:fs`: `code`, negative `errno`, `syscall`, `path`, and Node's message text. */
export function systemError(
  code: string,
  syscall: string,
  path?: HostPath,
  dest?: HostPath,
): NodeJS.ErrnoException {
  const number = errnoNumber(code)
  const places = [path, dest].filter((place) => place !== undefined).map((place) => `'${place.toString()}'`)
  const message = `${code}: ${wordsOf(number)}, ${syscall}${places.length > 0 ? ` ${places.join(' -> ')}` : ''}`
  return Object.assign(new Error(message), {
    code,
    errno: -number,
    syscall,
    ...(path !== undefined && { path: path.toString() }),
    ...(dest !== undefined && { dest: dest.toString() }),
  })
}

/** Throws the errno of the call that just failed with `-1`; otherwise returns its result. */
export function checked(result: number, syscall: string, path?: HostPath, dest?: HostPath): number {
  if (result < 0) throw systemError(errnoName(lastErrno()), syscall, path, dest)
  return result
}

/** Returns a Node error under the system's name if Node has no name for it (`EDQUOT`). */
export function namedError(error: unknown, syscall: string): unknown {
  const { code, errno } = error as NodeJS.ErrnoException
  if (code?.startsWith('Unknown system error') !== true || errno === undefined) return error
  return systemError(errnoName(-errno), syscall)
}

/** Returns Node's name, so 95 is `ENOTSUP`. An unknown number is `E` and the number. */
export function errnoName(number: number): string {
  return names().get(number) ?? `E${number}`
}

function errnoNumber(code: string): number {
  const known = (constants.errno as Readonly<Record<string, number>>)[code]
  if (known !== undefined) return known
  for (const [number, name] of names()) if (name === code) return number
  return 0
}

function wordsOf(number: number): string {
  return table().get(-number)?.[1] ?? 'unknown error'
}

/** Node's table and the names it lacks, cached: Node rebuilds its table at each call, which takes 11 µs. */
function names(): ReadonlyMap<number, string> {
  return (byNumber ??= new Map([
    ...LINUX_ONLY,
    ...[...table()].map(([number, [name]]) => [-number, name] as const),
  ]))
}

function table(): ReadonlyMap<number, [string, string]> {
  return (nodeTable ??= getSystemErrorMap())
}

let byNumber: ReadonlyMap<number, string> | undefined
let nodeTable: ReadonlyMap<number, [string, string]> | undefined
const LINUX_ONLY: readonly (readonly [number, string])[] = [
  [15, 'ENOTBLK'],
  [35, 'EDEADLK'],
  [37, 'ENOLCK'],
  [62, 'ETIME'],
  [116, 'ESTALE'],
  [117, 'EUCLEAN'],
  [122, 'EDQUOT'],
]
