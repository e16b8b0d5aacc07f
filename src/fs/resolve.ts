import { isErrno } from '../errors.js'
import { systemError } from '../sys/errno.js'
import { baseOf, bytesToHost, joinBytes, parentOf, toBytes, type ByteString, type PathLike } from './bytes.js'
import type { SyncFs, SyncStat } from './sync-fs.js'

const MAX_LINKS = 40
const NAME_MAX = 255
/** With the zero byte at the end. */
export const PATH_MAX = 4096
const ROOT = '' as ByteString

/**
 * Resolution of callers' paths inside the root, as the kernel does it for a process whose root it is (path_resolution(7)):
 * absolute symlinks start at the root, `..` at the root stays there, more than 40 symlinks are `ELOOP`, what is below
 * something that is no directory is `ENOTDIR`.
 */

export interface Resolved {
  /** Without symlinks, but for the last component if it was not to be followed. */
  readonly path: ByteString
  /** Absent when nothing is there; the directory it would be in is. */
  readonly stat: SyncStat | undefined
}

/** Resolves to an object. A trailing slash asks for a directory, and follows. */
export function resolve(fs: SyncFs, path: PathLike, follow: boolean, syscall: string): Resolved {
  const text = checkedPath(path, syscall)
  return resolvePlain(fs, text, follow) ?? new Resolution(fs, text, syscall).object(follow)
}

/** A place in a directory, for calls that make, move or remove what is there. The last component is never followed. */
export interface Entry extends Resolved {
  /** The path has no name at its end: it is `/`, or ends in `.` or `..`. */
  readonly special: '/' | '.' | '..' | undefined
  /** The path ends in a slash, so a directory is meant. */
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
  throw Object.assign(new TypeError('a path must be without null bytes'), { code: 'ERR_INVALID_ARG_VALUE' })
}

/** Most paths go through no symlink, and one look tells; `undefined` where it does not. */
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

/** Component by component. */
class Resolution {
  readonly #fs: SyncFs
  readonly #text: ByteString
  readonly #syscall: string
  /** Those to come, the next one last. */
  readonly #rest: string[]
  #links = 0
  #path = ROOT
  /** What is at `#path`; a directory is known to be one without having been looked at. */
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
    // A slash behind a symlink is a component, too, if only an empty one.
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
