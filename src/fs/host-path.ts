import { closeSync, constants, fstatSync, lstatSync, openSync, type BigIntStats } from 'node:fs'
import { isErrno } from '../errors.js'
import { systemError } from '../sys/errno.js'
import { libcAvailable } from '../sys/libc.js'
import {
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../sys/openat2.js'
import { baseOf, bytesToBuffer, bytesToHost, parentOf, type ByteString } from './bytes.js'

const { O_DIRECTORY, O_NOFOLLOW } = constants
const RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/
const MANY = 50_000

export type HostPath = string | Buffer

/**
 * Turns a resolved path inside a root into one that `node:fs` can take, such that the root cannot be left by it.
 *
 * 1. No component but the last is a symlink when `work` gets the host path.
 * 2. `work` makes no call on it that follows the last one; where there is no other, it calls `pin`.
 */
export interface HostPaths {
  /** The host path is good only while `work` runs. Errors name the whole path. */
  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T
  /** Another path of what is there now, and of nothing else, and what it is; unless that is a symlink, it may be followed. */
  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T
  /** What was known of `path` and below it is no longer so. */
  forget(path: ByteString): void
  close(): void
}

/** @param shared others may change the tree at any moment */
export function openHostPaths(root: string, shared: boolean): HostPaths {
  return (shared ? GuardedPaths.open(root) : undefined) ?? new OwnPaths(root, { remembers: !shared })
}

/**
 * For a tree that only this process changes: a path is the root's path and the rest. A component in the middle must be a
 * directory; which ones are is remembered.
 *
 * Without openat2 it must do for shared trees, too: nothing is remembered then. What others swap in the µs between the
 * look and the call is followed.
 */
class OwnPaths implements HostPaths {
  readonly #root: string
  readonly #remembers: boolean
  readonly #directories = new Set<ByteString>()

  constructor(root: string, options: { readonly remembers: boolean }) {
    this.#root = root
    this.#remembers = options.remembers
  }

  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    const parent = parentOf(path)
    if (!this.#isKnown(parent)) {
      if (this.#directories.size > MANY) this.#directories.clear()
      this.#checkDirectory(syscall, parent)
    }
    return work(hostPathOf(this.#root, path))
  }

  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T {
    return work(hostPath, lstatSync(hostPath, { bigint: true }))
  }

  /** A directory is remembered together with all those above it. */
  forget(path: ByteString): void {
    if (this.#directories.has(path)) this.#directories.clear()
  }

  close(): void {
    this.#directories.clear()
  }

  #isKnown(path: ByteString): boolean {
    return path === '' || this.#directories.has(path)
  }

  #checkDirectory(syscall: string, path: ByteString): void {
    if (this.#isKnown(path)) return
    this.#checkDirectory(syscall, parentOf(path))
    const hostPath = hostPathOf(this.#root, path)
    if (!lstatSync(hostPath).isDirectory()) throw systemError('ENOTDIR', syscall, hostPath)
    if (this.#remembers) this.#directories.add(path)
  }
}

/**
 * For a tree that others may change at any moment, a mount that a container runs in: the directory is opened with
 * openat2(2), which no swap of a directory for a symlink can lead outside, and its last component reached from there.
 */
class GuardedPaths implements HostPaths {
  readonly #root: string
  readonly #fd: number
  #open = true

  /** `undefined` where there is no openat2: before Linux 5.6, without koffi, and where a sandbox forbids it. */
  static open(root: string): GuardedPaths | undefined {
    if (!libcAvailable().works) return undefined
    const fd = openSync(root, O_PATH | O_DIRECTORY)
    try {
      guards ??= canGuard(fd)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    if (guards) return new GuardedPaths(root, fd)
    closeSync(fd)
    return undefined
  }

  private constructor(root: string, fd: number) {
    this.#root = root
    this.#fd = fd
  }

  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    const parent = parentOf(path)
    try {
      if (path === '') return work(`/proc/self/fd/${this.#fd}/.`)
      if (parent === '') return work(hostPathOf(`/proc/self/fd/${this.#fd}`, path))
      const fd = this.#openDirectory(parent)
      try {
        return work(hostPathOf(`/proc/self/fd/${fd}`, baseOf(path)))
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      throw this.#named(error, syscall, path)
    }
  }

  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T {
    const fd = openSync(hostPath as string, O_PATH | O_NOFOLLOW)
    try {
      return work(`/proc/self/fd/${fd}`, fstatSync(fd, { bigint: true }))
    } finally {
      closeSync(fd)
    }
  }

  forget(): void {}

  close(): void {
    if (this.#open) closeSync(this.#fd)
    this.#open = false
  }

  /** A symlink in the middle is `ENOTDIR`, as for every other kind of file there. */
  #openDirectory(path: ByteString): number {
    try {
      return openat2(this.#fd, bytesToHost(path), O_PATH | O_DIRECTORY, RESOLVE)
    } catch (error) {
      if (isErrno(error, 'ELOOP')) throw systemError('ENOTDIR', 'open', bytesToHost(path))
      throw error
    }
  }

  #named(error: unknown, syscall: string, path: ByteString): unknown {
    const { code, errno } = error as NodeJS.ErrnoException
    if (code === undefined || errno === undefined) return error
    return systemError(code, syscall, hostPathOf(this.#root, path))
  }
}

/** Whether there are openat2 and `/proc`, which does not change while a process runs. */
let guards: boolean | undefined

function canGuard(fd: number): boolean {
  try {
    closeSync(openat2(fd, '.', O_PATH | O_DIRECTORY, RESOLVE))
    lstatSync(`/proc/self/fd/${fd}/.`)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOSYS', 'EPERM', 'ENOENT')) return false
    throw error
  }
}

export function hostPathOf(directory: string, path: ByteString): HostPath {
  if (path === '') return directory
  if (ASCII.test(path)) return `${directory}/${path}`
  return Buffer.concat([Buffer.from(`${directory}/`), bytesToBuffer(path)])
}
