import { closeSync, constants, lstatSync, openSync, type BigIntStats } from 'node:fs'
import { systemError } from '../../sys/errno.js'
import { O_PATH } from '../../sys/openat2.js'
import { bytesToBuffer, parentOf, type ByteString } from '../bytes.js'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/
const MANY = 50_000
/** Below `PATH_MAX`, with room for a longer name beside the last one. */
const LONG = 3900

export type HostPath = string | Buffer

/**
 * Turns a resolved path inside a root into one that `node:fs` can take, such that the root cannot be left by it.
 *
 * 1. No component but the last is a symlink when `work` gets the host path.
 * 2. `work` makes no call on it that follows the last one; where there is no other, it calls `pin`.
 */
export interface HostPaths {
  /** Opening a device node fails in the kernel, so a file can be opened before its type is known. */
  readonly refusesDevices: boolean
  /** The host path is good only while `work` runs. Errors name the whole path. */
  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T
  /** Gives `work` a path of the directory at `path` that can be listed. A symlink there is `ENOTDIR`. */
  inside<T>(syscall: string, path: ByteString, work: (directory: string) => T): T
  /** Another path of what is there now, and of nothing else, and what it is; unless that is a symlink, it may be followed. */
  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T
  /** Drops what is cached about `path` and everything below it. */
  forget(path: ByteString): void
  close(): void
}

/**
 * For a tree that only this process changes: a path is the root's path and the rest. A component in the middle must be a
 * directory; `remembers` says that one seen once stays one.
 */
export class OwnPaths implements HostPaths {
  readonly refusesDevices = false
  readonly #root: string
  /** In bytes, with a slash. */
  readonly #rootLength: number
  readonly #remembers: boolean
  readonly #directories = new Set<ByteString>()

  constructor(root: string, options: { readonly remembers: boolean }) {
    this.#root = root
    this.#rootLength = Buffer.byteLength(root) + 1
    this.#remembers = options.remembers
  }

  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    const parent = parentOf(path)
    if (!this.#isKnown(parent)) {
      if (this.#directories.size > MANY) this.#directories.clear()
      this.#checkDirectory(syscall, parent)
    }
    return this.#reach(syscall, path, work)
  }

  inside<T>(syscall: string, path: ByteString, work: (directory: string) => T): T {
    return this.at(syscall, path, (host) => insideDirectory(host, work))
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
    const isDirectory = this.#reach(syscall, path, (host) => lstatSync(host).isDirectory())
    if (!isDirectory) throw systemError('ENOTDIR', syscall, hostPathOf(this.#root, path))
    if (this.#remembers) this.#directories.add(path)
  }

  /** The kernel takes paths below `PATH_MAX`, which a layer's path and the root's may exceed together. */
  #reach<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    const length = path.length + this.#rootLength
    return length < LONG ? work(hostPathOf(this.#root, path)) : this.#reachFar(syscall, path, work)
  }

  /** By the descriptor of a directory in the middle, none of whose components is a symlink. */
  #reachFar<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    const slash = path.lastIndexOf('/', LONG - this.#rootLength)
    const whole = hostPathOf(this.#root, path)
    if (process.platform !== 'linux' || slash < 0) return work(whole)
    const middle = hostPathOf(this.#root, path.slice(0, slash) as ByteString)
    try {
      const fd = openSync(middle as string, O_PATH | O_DIRECTORY | O_NOFOLLOW)
      try {
        return work(hostPathOf(`/proc/self/fd/${fd}`, path.slice(slash + 1) as ByteString))
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      const { code, errno } = error as NodeJS.ErrnoException
      throw code === undefined || errno === undefined ? error : systemError(code, syscall, whole)
    }
  }
}

/**
 * A symlink is `ENOTDIR`: the directory is opened without following, and read through its descriptor where that can be.
 * @param read is given a host path that is good only during the call
 */
export function insideDirectory<T>(host: HostPath, read: (directory: string) => T): T {
  if (process.platform !== 'linux') {
    if (!lstatSync(host).isDirectory()) throw systemError('ENOTDIR', 'scandir', host)
    return read(host.toString())
  }
  const fd = openSync(host as string, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
  try {
    return read(`/proc/self/fd/${fd}`)
  } finally {
    closeSync(fd)
  }
}

export function hostPathOf(directory: string, path: ByteString): HostPath {
  if (path === '') return directory
  if (ASCII.test(path)) return `${directory}/${path}`
  return Buffer.concat([Buffer.from(`${directory}/`), bytesToBuffer(path)])
}
