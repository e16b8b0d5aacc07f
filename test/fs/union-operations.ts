import { constants } from 'node:fs'
import { joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { bytes } from './union-objects.js'

const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants

/** Something done in a case's directory `dir`, to the object `x` in it; what it returns is compared too. */
export interface Operation {
  readonly name: string
  /** Opens the object, which may block on special files and means nothing there. */
  readonly opens?: boolean
  /** Shows what the host's kernel does about set-ID bits, which attributes that are kept in xattrs do not follow. */
  readonly needsInodes?: boolean
  readonly run: (fs: RawFs, dir: ByteString) => string | undefined | void
}

const x = (dir: ByteString) => joinBytes(dir, bytes('x'))
const y = (dir: ByteString) => joinBytes(dir, bytes('y'))
const other = (dir: ByteString) => joinBytes(dir, bytes('other'))
const inside = (dir: ByteString, name: string) => joinBytes(x(dir), bytes(name))
const COLOR = bytes('user.color')
const TIME = 1_700_000_000_987_654_321n

export const OPERATIONS: readonly Operation[] = [
  operation('lstat', (fs, dir) => void fs.lstat(x(dir))),
  operation('readdir', (fs, dir) => {
    if (fs.lstat(x(dir)).type === 'symlink') return undefined
    const entries = fs.readdir(x(dir)).map(({ name, type }) => `${name} ${type}`)
    return entries.toSorted().join()
  }),
  operation('readlink', (fs, dir) => fs.readlink(x(dir))),
  operation('list xattrs', (fs, dir) => fs.listxattr(x(dir)).toSorted().join()),
  operation('get an xattr', (fs, dir) => String(fs.getxattr(x(dir), COLOR)?.toString('hex'))),

  opening('open to read', (fs, dir) => open(fs, x(dir), O_RDONLY)),
  opening('open to write', (fs, dir) => open(fs, x(dir), O_RDWR)),
  opening('open with O_CREAT', (fs, dir) => open(fs, x(dir), O_WRONLY | O_CREAT)),
  opening('open with O_EXCL', (fs, dir) => open(fs, x(dir), O_WRONLY | O_CREAT | O_EXCL)),
  opening('open with O_CREAT to read', (fs, dir) => {
    if (fs.lstat(x(dir)).type !== 'directory') open(fs, x(dir), O_RDONLY | O_CREAT)
  }),
  opening('open with O_TRUNC', (fs, dir) => open(fs, x(dir), O_WRONLY | O_TRUNC)),
  opening('write', (fs, dir) => open(fs, x(dir), O_WRONLY, 'new')),
  opening('append', (fs, dir) => open(fs, x(dir), O_WRONLY | O_APPEND, 'new')),
  opening('write a file anew', (fs, dir) => open(fs, x(dir), O_WRONLY | O_CREAT | O_TRUNC, 'all new')),
  opening('truncate to 0', (fs, dir) => fs.truncate(x(dir), 0)),
  opening('truncate to 3', (fs, dir) => fs.truncate(x(dir), 3)),
  opening('truncate to 9000', (fs, dir) => fs.truncate(x(dir), 9000)),
  opening('fchmod a file open to read', (fs, dir) => {
    const file = fs.open(x(dir), O_RDONLY)
    try {
      file.chmod(0o711)
      return file.stat().mode.toString(8)
    } finally {
      file.close()
    }
  }),
  opening('read on after a write', (fs, dir) => {
    const file = fs.open(x(dir), O_RDONLY)
    try {
      open(fs, x(dir), O_WRONLY, 'changed')
      const buffer = Buffer.alloc(100)
      return buffer.toString('latin1', 0, file.read(buffer, 0))
    } finally {
      file.close()
    }
  }),

  operation('chmod', (fs, dir) => fs.chmod(x(dir), 0o4711)),
  needingInodes('chown', (fs, dir) => fs.chown(x(dir), 1000, 1001)),
  operation('utimes', (fs, dir) => fs.utimes(x(dir), TIME, TIME)),
  operation('utimes of mtime', (fs, dir) => fs.utimes(x(dir), undefined, -TIME)),
  operation('set an xattr', (fs, dir) => fs.setxattr(x(dir), bytes('user.new'), Buffer.from('value'))),
  operation('create an xattr', (fs, dir) => fs.setxattr(x(dir), COLOR, Buffer.from('blue'), 'create')),
  operation('replace an xattr', (fs, dir) => fs.setxattr(x(dir), COLOR, Buffer.from('blue'), 'replace')),
  operation('remove an xattr', (fs, dir) => fs.removexattr(x(dir), COLOR)),

  operation('make a directory', (fs, dir) => fs.mkdir(x(dir), 0o2705)),
  operation('make a tree', (fs, dir) => {
    fs.mkdir(x(dir), 0o755)
    fs.mkdir(inside(dir, 'd'), 0o755)
    open(fs, inside(dir, 'd/f'), O_WRONLY | O_CREAT, 'deep')
  }),
  operation('make a symlink', (fs, dir) => fs.symlink(bytes('/etc/\xff'), x(dir))),
  operation('make a fifo', (fs, dir) => fs.mknod(x(dir), 'fifo', 0o622)),
  operation('make a socket', (fs, dir) => fs.mknod(x(dir), 'socket', 0o755)),
  operation('make a device', (fs, dir) => fs.mknod(x(dir), 'char', 0o666, { major: 1, minor: 3 })),
  operation('make a whiteout', (fs, dir) => fs.mknod(x(dir), 'char', 0, { major: 0, minor: 0 })),
  operation('link to a new name', (fs, dir) => fs.link(x(dir), y(dir))),
  operation('link over it', (fs, dir) => fs.link(other(dir), x(dir))),
  operation('link it to itself', (fs, dir) => fs.link(x(dir), x(dir))),

  operation('unlink', (fs, dir) => fs.unlink(x(dir))),
  operation('rmdir', (fs, dir) => fs.rmdir(x(dir))),
  operation('unlink twice', (fs, dir) => {
    fs.unlink(x(dir))
    fs.unlink(x(dir))
  }),
  operation('remove, make a directory', (fs, dir) => {
    remove(fs, x(dir))
    fs.mkdir(x(dir), 0o755)
  }),
  operation('remove, make a directory, remove', (fs, dir) => {
    remove(fs, x(dir))
    fs.mkdir(x(dir), 0o755)
    open(fs, inside(dir, 'new'), O_WRONLY | O_CREAT, 'new')
    remove(fs, x(dir))
  }),
  operation('remove, make a file', (fs, dir) => {
    remove(fs, x(dir))
    open(fs, x(dir), O_WRONLY | O_CREAT | O_EXCL, 'another')
  }),
  operation('remove, make a file, remove', (fs, dir) => {
    remove(fs, x(dir))
    open(fs, x(dir), O_WRONLY | O_CREAT | O_EXCL, 'another')
    fs.unlink(x(dir))
  }),
  operation('remove, make a symlink (fuse-overlayfs#279)', (fs, dir) => {
    remove(fs, x(dir))
    fs.symlink(bytes('other'), x(dir))
  }),
  operation('remove, link another', (fs, dir) => {
    remove(fs, x(dir))
    fs.link(other(dir), x(dir))
  }),

  needingInodes('make things again in a set-group-ID directory', (fs, dir) => {
    fs.chown(dir, 0, 77)
    fs.chmod(dir, 0o2775)
    remove(fs, x(dir))
    fs.mkdir(x(dir), 0o755)
    open(fs, inside(dir, 'f'), O_WRONLY | O_CREAT, 'inside')
    remove(fs, x(dir))
    open(fs, x(dir), O_WRONLY | O_CREAT, 'file')
  }),
  operation('make a file inside', (fs, dir) => open(fs, inside(dir, 'new'), O_WRONLY | O_CREAT, 'inside')),
  operation('make a directory inside', (fs, dir) => fs.mkdir(inside(dir, 'new'), 0o755)),
  operation('write a file inside', (fs, dir) => open(fs, inside(dir, 'f'), O_WRONLY, 'inside')),
  operation('unlink inside', (fs, dir) => fs.unlink(inside(dir, 'f'))),
  operation('replace inside by a directory', (fs, dir) => {
    fs.unlink(inside(dir, 'f'))
    fs.mkdir(inside(dir, 'f'), 0o700)
  }),
  operation('reach below it', (fs, dir) => void fs.lstat(inside(dir, 'none/none'))),

  operation('rename to itself', (fs, dir) => fs.rename(x(dir), x(dir))),
  operation('rename into itself', (fs, dir) => fs.rename(x(dir), inside(dir, 'y'))),
  operation('rename over its directory', (fs, dir) => fs.rename(x(dir), dir)),
  operation('rename out of its directory', (fs, dir) => fs.rename(inside(dir, 'f'), y(dir))),
  operation('rename another into it', (fs, dir) => fs.rename(other(dir), inside(dir, 'f'))),
  operation('rename to a missing directory', (fs, dir) => fs.rename(x(dir), joinBytes(y(dir), bytes('z')))),
  operation('rename there and back', (fs, dir) => {
    fs.rename(x(dir), y(dir))
    fs.rename(y(dir), x(dir))
  }),
  operation('rename over a link of itself', (fs, dir) => fs.rename(x(dir), joinBytes(dir, bytes('x-link')))),
  operation('rename to a name too long', (fs, dir) =>
    fs.rename(x(dir), joinBytes(dir, bytes('y'.repeat(256)))),
  ),
]

/** `ok` and what came back, or the error's name. */
export function outcome(run: () => unknown): string {
  try {
    const result = run()
    return result === undefined ? 'ok' : `ok: ${String(result)}`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return code
  }
}

function operation(name: string, run: Operation['run']): Operation {
  return { name, run }
}

function opening(name: string, run: Operation['run']): Operation {
  return { name, run, opens: true }
}

function needingInodes(name: string, run: Operation['run']): Operation {
  return { name, run, needsInodes: true }
}

function open(fs: RawFs, path: ByteString, flags: number, content?: string): void {
  const file = fs.open(path, flags, 0o604)
  try {
    if (content !== undefined) file.write(Buffer.from(content), 0)
  } finally {
    file.close()
  }
}

function remove(fs: RawFs, path: ByteString): void {
  if (fs.lstat(path).type !== 'directory') return fs.unlink(path)
  for (const { name } of fs.readdir(path)) remove(fs, joinBytes(path, name))
  fs.rmdir(path)
}
