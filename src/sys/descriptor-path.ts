import { closeSync, constants, lstatSync, openSync } from 'node:fs'
import type { HostPath } from './libc.js'
import { O_PATH } from './openat2.js'

const { O_DIRECTORY, O_NOFOLLOW } = constants

/**
 * Paths that begin at an open directory. They reach that directory even if its own path changes. So a chain of such
 * paths, one component at a time and without following the last, stays inside the tree where it began.
 */

/** Returns the path of an open file or directory. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/** Opens the directory `name` in the directory `fd`. A symlink is `ENOTDIR`. `O_PATH` unless `flags` is given. */
export function openDirectoryAt(fd: number, name: HostPath, flags: number = O_PATH): number {
  return openSync(entryPath(fd, name) as string, flags | O_DIRECTORY | O_NOFOLLOW)
}

/** Returns the path of the entry `name` in the directory `fd`. */
export function entryPath(fd: number, name: HostPath): HostPath {
  if (typeof name === 'string') return `/proc/self/fd/${fd}/${name}`
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), name])
}

/** Opens the directory at a path of several components, none of which may be a symlink. */
export function openDirectoryBelow(fd: number, path: Buffer): number {
  let directory = openDirectoryAt(fd, '.')
  for (let start = 0; start < path.length;) {
    const slash = path.indexOf(SLASH, start)
    const end = slash < 0 ? path.length : slash
    const name = path.subarray(start, end)
    start = end + 1
    if (name.length === 0) continue
    const parent = directory
    try {
      directory = openDirectoryAt(parent, name)
    } finally {
      closeSync(parent)
    }
  }
  return directory
}

let works: boolean | undefined

/** Whether this system supports paths that begin at a descriptor: Linux with `/proc` mounted. */
export function hasDescriptorPaths(): boolean {
  return (works ??= tryPaths())
}

function tryPaths(): boolean {
  if (process.platform !== 'linux') return false
  const fd = openSync('/', O_PATH | O_DIRECTORY)
  try {
    return lstatSync(`/proc/self/fd/${fd}/.`, { throwIfNoEntry: false })?.isDirectory() === true
  } finally {
    closeSync(fd)
  }
}

const SLASH = 0x2f
