import { closeSync, constants, openSync } from 'node:fs'
import * as promises from 'node:fs/promises'
import { bind } from '#layerstack/sys/libc.js'
import { mknod } from '#layerstack/sys/mknod.js'
import { lgetxattr, llistxattr, lremovexattr, lsetxattr } from '#layerstack/sys/xattr.js'
import type { WriteOptions } from '#layerstack/fs/facade/layer-fs.js'
import type { PosixFs } from './operation.js'

const chroot = bind('int chroot(const char *path)')
const fchdir = bind('int fchdir(int fd)')

const node = promises as unknown as PosixFs

/**
 * Node's own calls, and direct system calls that Node lacks. Their paths mean the same as those of a `LayerFs` only in
 * a process whose root is the layer's. A `LayerFs` has no umask, so the process has none. Default modes are those of a
 * `LayerFs`.
 */
export const systemCalls: PosixFs = {
  ...node,
  open: (path, flags, mode = 0o644) => node.open(path, flags, mode),
  writeFile: (path, data, options) => node.writeFile(path, data, withMode(options)),
  appendFile: (path, data, options) => node.appendFile(path, data, withMode(options)),
  mkdir: (path, options) => {
    const given = typeof options === 'object' ? options : { mode: options }
    return node.mkdir(path, { ...given, mode: given.mode ?? 0o755 })
  },
  mknod: async (path, type, { mode = 0o644, major = 0, minor = 0 } = {}) =>
    mknod(String(path), type, Number(mode), major, minor),
  listxattr: async (path) => llistxattr(String(path)).map(String),
  getxattr: async (path, name) => lgetxattr(String(path), name),
  setxattr: async (path, name, value, flag) => lsetxattr(String(path), name, Buffer.from(value), flag),
  removexattr: async (path, name) => lremovexattr(String(path), name),
}

function withMode(options: BufferEncoding | WriteOptions = {}): WriteOptions {
  return { mode: 0o644, ...(typeof options === 'string' ? { encoding: options } : options) }
}

/** Makes `directory` the root of this process, and its umask 0, until `work` is done. */
export async function withRoot<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const cwd = process.cwd()
  const umask = process.umask(0)
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
    process.umask(umask)
  }
}

function succeeded(result: number): void {
  if (result !== 0) throw new Error('cannot change the root of this process')
}
