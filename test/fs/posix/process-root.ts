import { closeSync, constants, openSync } from 'node:fs'
import * as promises from 'node:fs/promises'
import { bind } from '#layerstack/sys/libc.js'
import { mknod } from '#layerstack/sys/mknod.js'
import { lgetxattr, llistxattr, lremovexattr, lsetxattr } from '#layerstack/sys/xattr.js'
import type { PosixFs } from './operation.js'

const chroot = bind('int chroot(const char *path)')
const fchdir = bind('int fchdir(int fd)')

/**
 * The system's own calls, with nothing of ours between: Node's, and those that Node does not have. Where a path is inside a
 * layer, they mean the same only for a process whose root is the layer's.
 */
export const systemCalls: PosixFs = {
  ...(promises as unknown as PosixFs),
  mknod: async (path, type, { mode = 0o666, major = 0, minor = 0 } = {}) =>
    mknod(String(path), type, mode, major, minor),
  listxattr: async (path) => llistxattr(String(path)).map(String),
  getxattr: async (path, name) => lgetxattr(String(path), name),
  setxattr: async (path, name, value, flag) => lsetxattr(String(path), name, Buffer.from(value), flag),
  removexattr: async (path, name) => lremovexattr(String(path), name),
}

/** Makes `directory` the root of this process until `work` is done. */
export async function withRoot<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const cwd = process.cwd()
  const outside = openSync('/', constants.O_RDONLY | constants.O_DIRECTORY)
  succeeded(chroot(directory))
  try {
    process.chdir('/')
    return await work()
  } finally {
    succeeded(fchdir(outside))
    succeeded(chroot('.'))
    process.chdir(cwd)
    closeSync(outside)
  }
}

function succeeded(result: number): void {
  if (result !== 0) throw new Error('the root of this process cannot be changed')
}
