import { closeSync, constants, lstatSync, openSync } from 'node:fs'
import { libcAvailable } from '../sys/libc.js'
import { systemError } from '../sys/errno.js'
import {
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../sys/openat2.js'
import { baseOf, bytesToBuffer, bytesToHost, parentOf, type ByteString } from './bytes.js'

// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/
const MANY = 50_000

/** Turns a resolved path inside a root into one that `node:fs` can take, such that the root cannot be left by it. */
export interface HostPaths {
  /** The host path is good only while `work` runs. */
  at<T>(syscall: string, path: ByteString, work: (hostPath: string | Buffer) => T): T
  /** What was known of `path` and below it is no longer so. */
  forget(path: ByteString): void
  close(): void
}

/**
 * For a tree that only this process changes: a path is the root's path and the rest. A component in the middle must be a
 * directory; which ones are is remembered.
 */
export class OwnPaths implements HostPaths {
  readonly #root: string
  readonly #directories = new Set<ByteString>()

  constructor(root: string) {
    this.#root = root
  }

  at<T>(syscall: string, path: ByteString, work: (hostPath: string | Buffer) => T): T {
    this.#checkDirectory(syscall, parentOf(path))
    return work(this.#hostPath(path))
  }

  forget(path: ByteString): void {
    if (this.#directories.has(path)) this.#directories.clear()
  }

  close(): void {
    this.#directories.clear()
  }

  #checkDirectory(syscall: string, path: ByteString): void {
    if (path === '' || this.#directories.has(path)) return
    this.#checkDirectory(syscall, parentOf(path))
    const hostPath = this.#hostPath(path)
    if (!lstatSync(hostPath).isDirectory()) throw systemError('ENOTDIR', syscall, hostPath)
    if (this.#directories.size > MANY) this.#directories.clear()
    this.#directories.add(path)
  }

  #hostPath(path: ByteString): string | Buffer {
    if (path === '') return this.#root
    if (ASCII.test(path)) return `${this.#root}/${path}`
    return Buffer.concat([Buffer.from(`${this.#root}/`), bytesToBuffer(path)])
  }
}

/**
 * For a tree that others may change at any moment, a mount that a container runs in: the directory is opened with
 * openat2(2), which no swap of a directory for a symlink can lead outside, and its last component reached from there.
 */
export class GuardedPaths implements HostPaths {
  readonly #root: number
  #open = true

  constructor(root: string) {
    this.#root = openSync(root, O_PATH | constants.O_DIRECTORY)
  }

  static readonly available = (): boolean => libcAvailable().works

  at<T>(_syscall: string, path: ByteString, work: (hostPath: string | Buffer) => T): T {
    if (path === '') return work(`/proc/self/fd/${this.#root}/.`)
    const parent = parentOf(path)
    if (parent === '') return work(below(this.#root, path))
    const flags = O_PATH | constants.O_DIRECTORY
    const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    const fd = openDirectory(this.#root, bytesToHost(parent), flags, resolve)
    try {
      return work(below(fd, baseOf(path)))
    } finally {
      closeSync(fd)
    }
  }

  forget(): void {}

  close(): void {
    if (this.#open) closeSync(this.#root)
    this.#open = false
  }
}

/** A symlink in the middle is `ENOTDIR`, as for every other kind of file there. */
function openDirectory(root: number, path: string | Buffer, flags: number, resolve: number): number {
  try {
    return openat2(root, path, flags, resolve)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ELOOP') throw systemError('ENOTDIR', 'open', path)
    throw error
  }
}

function below(fd: number, name: ByteString): string | Buffer {
  const directory = `/proc/self/fd/${fd}/`
  return ASCII.test(name) ? directory + name : Buffer.concat([Buffer.from(directory), bytesToBuffer(name)])
}
