import { isErrno } from '../errors.js'
import { systemError } from '../sys/errno.js'
import {
  baseOf,
  bytesToHost,
  bytesToText,
  joinBytes,
  parentOf,
  toBytes,
  type ByteString,
  type PathLike,
} from './bytes.js'
import type { SyncFs, SyncStat } from './sync-fs.js'

const MAX_LINKS = 40
const NAME_MAX = 255
/** Includes the terminating zero byte. */
export const PATH_MAX = 4096
const ROOT = '' as ByteString

/**
 * Resolves callers' paths inside the root, as the kernel does for a process with that root (path_resolution(7)).
 * Absolute symlinks start at the root, and `..` at the root stays there. More than 40 symlinks are `ELOOP`. A path
 * below a non-directory is `ENOTDIR`.
 */

export interface Resolved {
  /** Contains no symlinks, except a last component that was not to be followed. */
  readonly path: ByteString
  /** Absent if nothing exists there. The parent directory always exists. */
  readonly stat: SyncStat | undefined
}

/** Resolves a path to an object. A trailing slash requires a directory and follows a symlink. */
export function resolve(fs: SyncFs, path: PathLike, follow: boolean, syscall: string): Resolved {
  const text = checkedPath(path, syscall)
  return resolvePlain(fs, text, follow) ?? new Resolution(fs, text, syscall).object(follow)
}

/**
 * A name in a directory, for calls that make, move or remove the object there. The last component is never followed.
 */
export interface Entry extends Resolved {
  /** Set if the path does not end in a name: it is `/`, or ends in `.` or `..`. */
  readonly special: '/' | '.' | '..' | undefined
  /** Whether the path ends in a slash and so means a directory. */
  readonly slash: boolean
}

export function resolveEntry(fs: SyncFs, path: PathLike, syscall: string): Entry {
  const text = checkedPath(path, syscall)
  const end = text.replace(/\/+$/, '')
  const slash = end.length < text.length
  const name = end.slice(end.lastIndexOf('/') + 1) as ByteString
  if (name === '' || name === '.' || name === '..') {
    const { path: real, stat } = resolve(fs, path, true, syscall)
    return { path: real, stat, special: name === '' ? '/' : (name as '.' | '..'), slash }
  }
  const plain = resolvePlain(fs, end as ByteString, false)
  if (plain !== undefined) return { ...plain, special: undefined, slash }
  const resolved = new Resolution(fs, end as ByteString, syscall).object(false)
  return { ...resolved, special: undefined, slash }
}

function checkedPath(path: PathLike, syscall: string): ByteString {
  const text = toBytes(path)
  if (text === '') throw systemError('ENOENT', syscall, '')
  if (text.length >= PATH_MAX) throw systemError('ENAMETOOLONG', syscall, bytesToHost(text))
  if (!text.includes('\0')) return text
  throw Object.assign(new TypeError(`the path contains a NUL byte: ${JSON.stringify(bytesToText(text))}`), {
    code: 'ERR_INVALID_ARG_VALUE',
  })
}

/** Most paths contain no symlink and need only one lookup. Returns `undefined` if the path needs full resolution. */
function resolvePlain(fs: SyncFs, text: ByteString, follow: boolean): Resolved | undefined {
  const path = (text.startsWith('/') ? text.slice(1) : text) as ByteString
  if (/(^|\/)(\.\.?)?(\/|$)/.test(path)) return undefined
  try {
    const stat = fs.find(path)
    if (stat === undefined && baseOf(path).length > NAME_MAX) return undefined
    return stat?.type === 'symlink' && follow ? undefined : { path, stat }
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error
    return undefined
  }
}

/** Resolves a path component by component. */
class Resolution {
  readonly #fs: SyncFs
  readonly #text: ByteString
  readonly #syscall: string
  /** Components still to resolve, the next one last. */
  readonly #rest: string[]
  #links = 0
  #path = ROOT
  /** The object at `#path`. `'directory'` means a known directory that was not looked up. */
  #stat: SyncStat | 'directory' | undefined = 'directory'

  constructor(fs: SyncFs, text: ByteString, syscall: string) {
    this.#fs = fs
    this.#text = text
    this.#syscall = syscall
    this.#rest = text.split('/').toReversed()
  }

  object(follow: boolean): Resolved {
    for (let name = this.#rest.pop(); name !== undefined; name = this.#rest.pop()) {
      if (name === '' && this.#stat === undefined) continue
      this.#mustBeDirectory()
      if (name === '..') this.#toParent()
      else if (name !== '' && name !== '.') this.#enter(name as ByteString, follow)
    }
    const stat = this.#stat === 'directory' ? this.#fs.lstat(this.#path) : this.#stat
    return { path: this.#path, stat }
  }

  #mustBeDirectory(): void {
    if (this.#stat === 'directory') return
    if (this.#stat === undefined) throw this.#error('ENOENT')
    if (this.#stat.type !== 'directory') throw this.#error('ENOTDIR')
  }

  #toParent(): void {
    this.#path = parentOf(this.#path)
    this.#stat = 'directory'
  }

  #enter(name: ByteString, followsLast: boolean): void {
    if (name.length > NAME_MAX) throw this.#error('ENAMETOOLONG')
    const path = joinBytes(this.#path, name)
    const stat = this.#fs.find(path)
    // A slash after a symlink adds an empty component, so the symlink is followed.
    if (stat?.type === 'symlink' && (followsLast || this.#rest.length > 0)) return this.#follow(path)
    this.#path = path
    this.#stat = stat
  }

  #follow(path: ByteString): void {
    if (++this.#links > MAX_LINKS) throw this.#error('ELOOP')
    const target = this.#fs.readlink(path)
    if (target.startsWith('/')) this.#path = ROOT
    this.#stat = 'directory'
    this.#rest.push(...target.split('/').toReversed())
  }

  #error(code: string): NodeJS.ErrnoException {
    return systemError(code, this.#syscall, bytesToHost(this.#text))
  }
}
