import { closeSync, constants, lstatSync, openSync, type BigIntStats } from 'node:fs'
import { systemError } from '../../sys/errno.js'
import { O_PATH } from '../../sys/openat2.js'
import { bytesToBuffer, parentOf, type ByteString } from '../bytes.js'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/
const MANY = 50_000
/** Limit for a whole host path: below `PATH_MAX`, with room for a longer name than the last one. */
const LONG = 3900

export type HostPath = string | Buffer

/**
 * Turns a resolved path inside a root into a path for `node:fs` that cannot leave the root.
 *
 * 1. When `work` gets the host path, no component but the last is a symlink.
 * 2. `work` makes no call on it that follows the last component. If no other call exists, `work` calls `pin`.
 */
export interface HostPaths {
  /** Whether the kernel refuses to open device nodes. If so, a file can be opened before its type is known. */
  readonly refusesDevices: boolean
  /** Calls `work` with the host path, which is valid only during the call. Errors name the whole path. */
  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T
  /** Calls `work` with a path of the directory at `path` that can be listed. A symlink there is `ENOTDIR`. */
  inside<T>(syscall: string, path: ByteString, work: (directory: string) => T): T
  /**
   * Calls `work` with the stat of the object now at `hostPath`, and with a path to exactly that object. That path may
   * be followed unless the object is a symlink.
   */
  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T
  /** Drops what is cached about `path` and everything below it. */
  forget(path: ByteString): void
  close(): void
}

/**
 * For a tree that only this process changes: a host path is the root's path plus the rest. Each component in the middle
 * must be a directory. `remembers` means that a directory, once seen, stays one.
 */
export class OwnPaths implements HostPaths {
  readonly refusesDevices = false
  readonly #root: string
  /** In bytes, including a slash. */
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

  /** A directory is remembered only with all its parents. If `path` is not, nothing below it is. */
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

  /** The kernel takes only paths below `PATH_MAX`, which the root's path and a layer's path may exceed together. */
  #reach<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    const length = path.length + this.#rootLength
    return length < LONG ? work(hostPathOf(this.#root, path)) : this.#reachFar(syscall, path, work)
  }

  /** Uses the descriptor of a directory in the middle of the path. None of its components is a symlink. */
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
 * Opens the directory without following symlinks and reads it through its descriptor, if the platform allows that. A
 * symlink is `ENOTDIR`.
 * @param read is given a host path that is valid only during the call
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
