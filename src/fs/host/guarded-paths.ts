import { closeSync, constants, fstatSync, lstatSync, openSync, realpathSync, type BigIntStats } from 'node:fs'
import { isErrno, StoreError } from '../../errors.js'
import { descriptorPath, hasDescriptorPaths, openDirectoryAt } from '../../sys/descriptor-path.js'
import { systemError } from '../../sys/errno.js'
import { libcAvailable } from '../../sys/libc.js'
import { cloneMount } from '../../sys/mount-clone.js'
import { mountPointsBelow } from '../../sys/mount-table.js'
import {
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from '../../sys/openat2.js'
import { baseOf, bytesToHost, parentOf, type ByteString } from '../bytes.js'
import { hostPathOf, insideDirectory, OwnPaths, type HostPath, type HostPaths } from './host-path.js'
import type { HostFsSpec } from '../spec.js'

const { O_DIRECTORY, O_NOFOLLOW } = constants
const RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
const ROOT = '' as ByteString
/** Directories that a walk keeps open. Most trees are less deep. */
const KEPT = 32

export function openHostPaths(spec: HostFsSpec): HostPaths {
  const { root, shared = false, untrusted = false } = spec
  if (!shared && !untrusted) return new OwnPaths(root, { remembers: true })
  if (!hasDescriptorPaths()) return new OwnPaths(root, { remembers: false })
  if (untrusted) return DescriptorPaths.openTree(root, spec.readOnly === true)
  return ResolvedPaths.open(root) ?? DescriptorPaths.open(root)
}

/**
 * For single calls on a tree that other programs change. openat2(2) opens the directory in one step, and the last
 * component is reached from its descriptor.
 */
class ResolvedPaths implements HostPaths {
  readonly refusesDevices = false
  readonly #root: string
  readonly #fd: number
  #open = true

  /** Returns `undefined` if openat2 does not work: before Linux 5.6, without koffi, or if a sandbox forbids it. */
  static open(root: string): ResolvedPaths | undefined {
    if (!libcAvailable().works) return undefined
    const fd = openSync(root, O_PATH | O_DIRECTORY)
    try {
      canResolve ??= tryOpenat2(fd)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    if (canResolve) return new ResolvedPaths(root, fd)
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
      if (path === '') return work(`${descriptorPath(this.#fd)}/.`)
      if (parent === '') return work(hostPathOf(descriptorPath(this.#fd), path))
      const fd = this.#openDirectory(parent)
      try {
        return work(hostPathOf(descriptorPath(fd), baseOf(path)))
      } finally {
        closeSync(fd)
      }
    } catch (error) {
      throw renamed(error, syscall, this.#root, path)
    }
  }

  inside<T>(syscall: string, path: ByteString, work: (directory: string) => T): T {
    return this.at(syscall, path, (host) => insideDirectory(host, work))
  }

  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T {
    return pinned(hostPath, work)
  }

  forget(): void {}

  close(): void {
    if (this.#open) closeSync(this.#fd)
    this.#open = false
  }

  /** A symlink in the middle is `ENOTDIR`, like any other non-directory. */
  #openDirectory(path: ByteString): number {
    try {
      return openat2(this.#fd, bytesToHost(path), O_PATH | O_DIRECTORY, RESOLVE)
    } catch (error) {
      if (isErrno(error, 'ELOOP')) throw systemError('ENOTDIR', 'open', bytesToHost(path))
      throw error
    }
  }
}

interface OpenDirectory {
  readonly path: ByteString
  readonly fd: number
  /** Host path of the descriptor. */
  readonly host: string
  /** Calls that use the directory now. They nest. */
  uses: number
}

/**
 * Opens each directory from the descriptor of its parent, without following symlinks. Uses no system call but open(2).
 *
 * For work on a whole tree, directories stay open while the work is near them, so a file costs one lookup. The root is
 * on its own mount, so mounts below it do not show. A directory that another program moves meanwhile is still read
 * under the path where it was found.
 */
class DescriptorPaths implements HostPaths {
  readonly refusesDevices: boolean
  readonly #root: string
  readonly #kept: number
  readonly #directories = new Map<ByteString, OpenDirectory>()
  readonly #top: OpenDirectory
  #last: OpenDirectory
  #open = true

  /** For single calls: keeps no directory open. */
  static open(root: string): DescriptorPaths {
    return new DescriptorPaths(root, openSync(root, O_PATH | O_DIRECTORY), { kept: 0, refusesDevices: false })
  }

  /**
   * For work on the whole tree. If this process may not clone a mount, a tree with mounts below it is `LAYER_IN_USE`.
   */
  static openTree(root: string, readOnly: boolean): DescriptorPaths {
    const clone = cloneMount(root, { readOnly })
    if (clone !== undefined) return new DescriptorPaths(root, clone, { kept: KEPT, refusesDevices: true })
    refuseMountsBelow(root)
    const fd = openSync(root, O_PATH | O_DIRECTORY)
    return new DescriptorPaths(root, fd, { kept: KEPT, refusesDevices: false })
  }

  private constructor(
    root: string,
    fd: number,
    { kept, refusesDevices }: { readonly kept: number; readonly refusesDevices: boolean },
  ) {
    this.#root = root
    this.#kept = kept
    this.refusesDevices = refusesDevices
    this.#top = { path: ROOT, fd, host: descriptorPath(fd), uses: 0 }
    this.#last = this.#top
  }

  at<T>(syscall: string, path: ByteString, work: (hostPath: HostPath) => T): T {
    try {
      if (path === '') return work(`${this.#top.host}/.`)
      const slash = path.lastIndexOf('/')
      const parent = (slash < 0 ? '' : path.slice(0, slash)) as ByteString
      return this.#using(parent, (host) => work(hostPathOf(host, path.slice(slash + 1) as ByteString)))
    } catch (error) {
      throw renamed(error, syscall, this.#root, path)
    }
  }

  inside<T>(syscall: string, path: ByteString, work: (directory: string) => T): T {
    try {
      return this.#using(path, work)
    } catch (error) {
      throw renamed(error, syscall, this.#root, path)
    }
  }

  pin<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T {
    return pinned(hostPath, work)
  }

  forget(path: ByteString): void {
    for (const directory of this.#directories.values()) {
      if (directory.path === path || directory.path.startsWith(`${path}/`)) this.#drop(directory)
    }
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    for (const directory of this.#directories.values()) this.#drop(directory)
    closeSync(this.#top.fd)
  }

  #using<T>(path: ByteString, work: (host: string) => T): T {
    const directory = this.#last.path === path ? this.#last : this.#enter(path)
    directory.uses++
    try {
      return work(directory.host)
    } finally {
      directory.uses--
      if (this.#directories.size > this.#kept) this.#evict()
    }
  }

  #enter(path: ByteString): OpenDirectory {
    if (!this.#open) throw systemError('EBADF', 'open')
    let above = this.#nearest(path)
    while (above.path !== path) {
      const start = above.path === '' ? 0 : above.path.length + 1
      const slash = path.indexOf('/', start)
      const end = slash < 0 ? path.length : slash
      above.uses++
      try {
        const fd = openDirectoryAt(above.fd, bytesToHost(path.slice(start, end) as ByteString))
        const found = { path: path.slice(0, end) as ByteString, fd, host: descriptorPath(fd), uses: 0 }
        this.#directories.set(found.path, found)
        if (this.#directories.size > this.#kept + 1) this.#evict(found)
        above.uses--
        above = found
      } catch (error) {
        above.uses--
        throw error
      }
    }
    return (this.#last = above)
  }

  #nearest(path: ByteString): OpenDirectory {
    for (let at = path; at !== ''; at = parentOf(at)) {
      const directory = this.#directories.get(at)
      if (directory === undefined) continue
      // The map's order is from least to most recently used.
      this.#directories.delete(at)
      this.#directories.set(at, directory)
      return directory
    }
    return this.#top
  }

  #evict(spared?: OpenDirectory): void {
    for (const directory of this.#directories.values()) {
      if (this.#directories.size <= this.#kept) return
      if (directory !== spared && directory.uses === 0) this.#drop(directory)
    }
  }

  #drop(directory: OpenDirectory): void {
    this.#directories.delete(directory.path)
    if (this.#last === directory) this.#last = this.#top
    closeSync(directory.fd)
  }
}

function pinned<T>(hostPath: HostPath, work: (pinned: HostPath, stat: BigIntStats) => T): T {
  const fd = openSync(hostPath as string, O_PATH | O_NOFOLLOW)
  try {
    return work(descriptorPath(fd), fstatSync(fd, { bigint: true }))
  } finally {
    closeSync(fd)
  }
}

function refuseMountsBelow(root: string): void {
  const [point] = mountPointsBelow(realpathSync(root))
  if (point === undefined) return
  throw new StoreError('LAYER_IN_USE', `a file system is mounted at ${point}, inside a layer`, {
    path: point,
    hint: 'unmount it first: this process cannot read what a mount covers',
  })
}

/** The error with a path below the root, instead of one that begins at a descriptor. */
function renamed(error: unknown, syscall: string, root: string, path: ByteString): unknown {
  const { code, errno } = error as NodeJS.ErrnoException
  if (code === undefined || errno === undefined || error instanceof StoreError) return error
  return systemError(code, syscall, hostPathOf(root, path))
}

/** Whether openat2 works. This does not change while a process runs. */
let canResolve: boolean | undefined

function tryOpenat2(fd: number): boolean {
  try {
    closeSync(openat2(fd, '.', O_PATH | O_DIRECTORY, RESOLVE))
    lstatSync(`${descriptorPath(fd)}/.`)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOSYS', 'EPERM', 'ENOENT')) return false
    throw error
  }
}
