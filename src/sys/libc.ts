import { createRequire } from 'node:module'

/** A host path for a system call: a string stands for its UTF-8 bytes, a Buffer for its own. */
export type HostPath = string | Buffer

export interface Availability {
  readonly works: boolean
  /** Why not. */
  readonly reason?: string
}

type Native = (...args: unknown[]) => number
interface Koffi {
  load(library: null): { func(prototype: string): Native }
  errno(): number
}

/**
 * The C library, through koffi: an optional dependency, loaded at the first call. `syscall` and `ioctl` are bound with
 * fixed arguments; on Linux the calling conventions for both are the same.
 */
export interface Libc {
  readonly errno: () => number
  readonly function: (prototype: string) => Native
}

let loaded: Libc | Error | undefined

/** Whether system calls can be made here; if not, why. */
export function libcAvailable(): Availability {
  const libc = load()
  return libc instanceof Error ? { works: false, reason: libc.message } : { works: true }
}

/** A C function, bound when it is first called. Throws what kept koffi from loading, with `code` `ENOSYS`. */
export function bind(prototype: string): Native {
  let bound: Native | undefined
  return (...args) => (bound ??= needLibc().function(prototype))(...args)
}

/** The errno of the last call. */
export function lastErrno(): number {
  return needLibc().errno()
}

/** The path as a C string. */
export function cString(path: HostPath): Buffer {
  return typeof path === 'string' ? Buffer.from(`${path}\0`) : Buffer.concat([path, Buffer.alloc(1)])
}

function needLibc(): Libc {
  const libc = load()
  if (libc instanceof Error)
    throw Object.assign(new Error(libc.message, { cause: libc.cause }), { code: 'ENOSYS' })
  return libc
}

function load(): Libc | Error {
  return (loaded ??= tryLoad())
}

function tryLoad(): Libc | Error {
  if (process.platform !== 'linux')
    return new Error(`system calls are bound on Linux only, this is ${process.platform}`)
  if (process.env['LAYERSTACK_NO_KOFFI']) return new Error('LAYERSTACK_NO_KOFFI is set')
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi
    const library = koffi.load(null)
    return { errno: () => koffi.errno(), function: (prototype) => library.func(prototype) }
  } catch (cause) {
    return new Error('koffi, an optional dependency, is not installed or does not load here', { cause })
  }
}
