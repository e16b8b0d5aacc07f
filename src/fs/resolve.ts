import { systemError } from '../sys/errno.js'
import { bytesToHost, joinBytes, parentOf, toBytes, type ByteString, type PathLike } from './bytes.js'
import type { RawFs, RawStat } from './raw-fs.js'

const MAX_LINKS = 40
const NAME_MAX = 255

export interface Resolved {
  /** Without symlinks, but for the last component if it was not to be followed. */
  readonly path: ByteString
  /** Absent when nothing is there; the directory it would be in is. */
  readonly stat: RawStat | undefined
}

/**
 * Resolves a path inside the root, as the kernel does for a process whose root it is: absolute symlinks start at the
 * root, `..` at the root stays there, 40 symlinks are too many. A trailing slash asks for a directory, and follows.
 */
export function resolve(fs: RawFs, path: PathLike, follow: boolean, syscall: string): Resolved {
  const text = toBytes(path)
  if (text === '') throw systemError('ENOENT', syscall)
  if (text.includes('\0')) throw new TypeError('a path must not contain a NUL')
  const mustBeDirectory = /\/\.?\.?$/.test(text) && text !== '/'
  const rest = text.split('/').toReversed()
  let real = '' as ByteString
  let stat: RawStat | undefined = fs.lstat(real)
  let links = 0
  for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
    if (name === '') continue
    if (stat === undefined) throw systemError('ENOENT', syscall, bytesToHost(text))
    if (stat.type !== 'directory') throw systemError('ENOTDIR', syscall, bytesToHost(text))
    if (name === '.') continue
    if (name === '..') {
      real = parentOf(real)
      stat = fs.lstat(real)
      continue
    }
    if (name.length > NAME_MAX) throw systemError('ENAMETOOLONG', syscall, bytesToHost(text))
    const next = joinBytes(real, name as ByteString)
    const found = lstatOrNothing(fs, next)
    const last = rest.every((component) => component === '')
    if (found?.type === 'symlink' && (!last || follow || mustBeDirectory)) {
      if (++links > MAX_LINKS) throw systemError('ELOOP', syscall, bytesToHost(text))
      const target = fs.readlink(next)
      if (target.startsWith('/')) {
        real = '' as ByteString
        stat = fs.lstat(real)
      }
      rest.push(...target.split('/').toReversed())
      continue
    }
    real = next
    stat = found
  }
  if (mustBeDirectory && stat !== undefined && stat.type !== 'directory') {
    throw systemError('ENOTDIR', syscall, bytesToHost(text))
  }
  return { path: real, stat }
}

function lstatOrNothing(fs: RawFs, path: ByteString): RawStat | undefined {
  try {
    return fs.lstat(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
