import { createRequire } from 'node:module'
import { constants } from 'node:os'

/** A host path for a system call: a string is encoded as UTF-8, a Buffer is used unchanged. */
export type HostPath = string | Buffer

export interface Availability {
  readonly works: boolean
  /** Why it does not work. */
  readonly reason?: string
}

type Call = (...args: unknown[]) => number

interface Native {
  (...args: unknown[]): number
  readonly async: (...args: unknown[]) => void
}

/** The C library, through koffi, an optional dependency that is loaded at the first call. */
interface Libc {
  readonly errno: () => number
  readonly func: (prototype: string) => Native
}

let loaded: Libc | Error | undefined

/** Whether this process can make system calls; if not, why. */
export function libcAvailable(): Availability {
  const libc = load()
  return libc instanceof Error ? { works: false, reason: libc.message } : { works: true }
}

/**
 * Returns a C function that is bound on its first call. Throws with `code` `ENOSYS` if koffi or the function is
 * missing. Variadic functions are declared with the arguments that we pass: on Linux the calling conventions for both
 * are the same.
 */
export function bind(prototype: string): Call {
  let bound: Native | undefined
  return (...args) => (bound ??= bindNow(prototype))(...args)
}

/** The same for a function that may take long: another thread calls it. The errno of such a call is not known. */
export function bindAsync(prototype: string): (...args: unknown[]) => Promise<number> {
  let bound: Native | undefined
  return async (...args) => {
    const { async: call } = (bound ??= bindNow(prototype))
    return new Promise((resolve, reject) => {
      call(...args, (error: unknown, result: number) => (error == null ? resolve(result) : reject(error)))
    })
  }
}

/** x86-64 has its own numbers for older calls; the other supported architectures share theirs. */
export interface SyscallNumber {
  readonly x64: number
  readonly others: number
}

/**
 * Binds a system call that some C libraries have no function for (glibc before 2.33 has no `mknod`, musl no
 * `renameat2`). Since 2019 new calls have the same number on all architectures.
 */
export function bindSyscall(number: number | SyscallNumber, parameters: string): Call {
  const call = bind(`long syscall(long number, ${parameters})`)
  const own = typeof number === 'number' ? number : process.arch === 'x64' ? number.x64 : number.others
  return (...args) => call(own, ...args)
}

/** Returns the errno of the last call. */
export function lastErrno(): number {
  return needLibc().errno()
}

/**
 * Returns the path as a C string. Throws `TypeError` like Node if it contains a NUL, because it would name another
 * file.
 */
export function cString(path: HostPath): Buffer {
  refuseNul(path)
  return typeof path === 'string' ? Buffer.from(`${path}\0`) : Buffer.concat([path, NUL])
}

/** As `cString`, but valid only until the next call of this function. For calls made for each file of a tree. */
export function passingCString(path: HostPath): Buffer {
  if (typeof path !== 'string' || 3 * path.length >= passing.length) return cString(path)
  refuseNul(path)
  passing[passing.write(path, 'utf8')] = 0
  return passing
}

const passing = Buffer.allocUnsafeSlow(4096)
const NUL = Buffer.alloc(1)

function refuseNul(path: HostPath): void {
  if (!path.includes('\0')) return
  throw Object.assign(new TypeError(`the path contains a NUL byte: ${JSON.stringify(path.toString())}`), {
    code: 'ERR_INVALID_ARG_VALUE',
  })
}

function bindNow(prototype: string): Native {
  const libc = needLibc()
  try {
    return libc.func(prototype)
  } catch (cause) {
    throw unavailable(`this C library lacks a function: ${prototype}`, cause)
  }
}

function needLibc(): Libc {
  const libc = load()
  if (libc instanceof Error) throw unavailable(libc.message, libc.cause)
  return libc
}

function unavailable(reason: string, cause: unknown): NodeJS.ErrnoException {
  return Object.assign(new Error(`ENOSYS: ${reason}`, { cause }), {
    code: 'ENOSYS',
    errno: -constants.errno.ENOSYS,
  })
}

interface Koffi {
  load(library: null): { func(prototype: string): Native }
  errno(): number
}

const ARCHITECTURES = new Set(['x64', 'arm64', 'riscv64', 'loong64'])

function load(): Libc | Error {
  return (loaded ??= tryLoad())
}

function tryLoad(): Libc | Error {
  const { platform, arch } = process
  if (platform !== 'linux') return new Error(`native system calls work on Linux only, not on ${platform}`)
  if (!ARCHITECTURES.has(arch)) return new Error(`native system calls are not supported on ${arch}`)
  if (process.env['LAYERSTACK_NO_KOFFI']) return new Error('LAYERSTACK_NO_KOFFI is set')
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi
    const library = koffi.load(null)
    return { errno: () => koffi.errno(), func: (prototype) => library.func(prototype) }
  } catch (cause) {
    return new Error('koffi, an optional dependency, is not installed or does not load', { cause })
  }
}
