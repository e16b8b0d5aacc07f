import { closeSync, constants, fsyncSync, lstatSync, openSync, readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { storeError } from '../../errors.js'
import { libcAvailable } from '../../sys/libc.js'
import { syncfs } from '../../sys/syncfs.js'

const { O_NONBLOCK, O_RDONLY } = constants

/**
 * Syncs the trees or files at the paths, and the directory entries that name them. Uses `syncfs` once per file system
 * if it is available, else `fsync` file by file. Data already on disk costs nothing. No progress.
 */
export interface SyncJob {
  readonly kind: 'sync'
  readonly paths: readonly string[]
}

export function syncTrees(paths: readonly string[]): void {
  try {
    if (libcAvailable().works) for (const path of distinctFileSystems(paths)) withDescriptor(path, syncfs)
    else for (const path of paths) syncByFile(path)
  } catch (error) {
    throw storeError(error, 'SYSTEM', 'could not sync to disk')
  }
}

function distinctFileSystems(paths: readonly string[]): Iterable<string> {
  const byDevice = new Map<number, string>()
  for (const path of paths) byDevice.set(lstatSync(path).dev, path)
  return byDevice.values()
}

function syncByFile(path: string): void {
  if (lstatSync(path).isDirectory()) syncTree(Buffer.from(path))
  else syncPath(path)
  syncPath(dirname(path))
}

function syncTree(directory: Buffer): void {
  for (const entry of readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })) {
    const path = Buffer.concat([directory, SLASH, entry.name])
    if (entry.isDirectory()) syncTree(path)
    else if (entry.isFile()) syncPath(path)
  }
  syncPath(directory)
}

function syncPath(path: string | Buffer): void {
  withDescriptor(path, fsyncSync)
}

function withDescriptor(path: string | Buffer, sync: (fd: number) => void): void {
  // Without O_NONBLOCK, opening a FIFO that a program put there would block.
  const fd = openSync(path as string, O_RDONLY | O_NONBLOCK)
  try {
    sync(fd)
  } finally {
    closeSync(fd)
  }
}

const SLASH = Buffer.from('/')
