import { constants } from 'node:fs'
import type { LayerStats } from '#layerstack/fs/facade/layer-fs.js'
import { blocking, operation, trusted, withFile, type Operation, type PosixFs } from './operation.js'

const TIME = 1_700_000_000.25
const BEFORE_1970 = -1_700_000_000.75

/** The baseline for all other answers. */
export const NOTHING = operation('nothing', async () => undefined)

/** One call on the object, or a few in sequence. */
export const CALLS: readonly Operation[] = [
  NOTHING,
  operation('stat', async (fs, at) => shown(await fs.stat(at('x')))),
  operation('lstat', async (fs, at) => shown(await fs.lstat(at('x')))),
  operation('lstat, nanoseconds', async (fs, at) => {
    const { mtimeNs, ino } = await fs.lstat(at('x'), { bigint: true })
    return [String(mtimeNs), (await fs.lstat(at('x'))).ino === Number(ino)]
  }),
  operation('readdir', async (fs, at) => (await fs.readdir(at('x'))).toSorted()),
  operation('readdir with types', async (fs, at) => typesIn(fs, at('x'))),
  operation('readdir, recursive', async (fs, at) =>
    (await fs.readdir(at('x'), { recursive: true })).toSorted(),
  ),
  operation('readlink', (fs, at) => fs.readlink(at('x'))),
  operation('realpath', (fs, at) => fs.realpath(at('x'))),
  ...(['F_OK', 'R_OK', 'W_OK', 'X_OK'] as const).map((mode) =>
    operation(`access ${mode}`, (fs, at) => fs.access(at('x'), constants[mode])),
  ),
  blocking('readFile', (fs, at) => fs.readFile(at('x'), 'latin1')),
  blocking('writeFile', (fs, at) => fs.writeFile(at('x'), 'all new', { mode: 0o604 })),
  blocking('writeFile, exclusive', (fs, at) => fs.writeFile(at('x'), 'all new', { flag: 'wx' })),
  blocking('appendFile', (fs, at) => fs.appendFile(at('x'), 'more')),
  ...[0, 3, 9000, -1].map((size) => blocking(`truncate to ${size}`, (fs, at) => fs.truncate(at('x'), size))),
  blocking('copyFile to a new name', (fs, at) => fs.copyFile(at('x'), at('y'))),
  blocking('copyFile over it', (fs, at) => fs.copyFile(at('other'), at('x'))),

  operation('listxattr', async (fs, at) => (await fs.listxattr(at('x'))).toSorted()),
  operation('getxattr', async (fs, at) => (await fs.getxattr(at('x'), 'user.color'))?.toString('hex')),
  operation('getxattr of no name space', (fs, at) => fs.getxattr(at('x'), 'color')),
  operation('setxattr', (fs, at) => fs.setxattr(at('x'), 'user.new', 'value')),
  operation('setxattr to nothing', (fs, at) => fs.setxattr(at('x'), 'user.color', '')),
  operation('setxattr, create', (fs, at) => fs.setxattr(at('x'), 'user.color', 'blue', 'create')),
  operation('setxattr, replace', (fs, at) => fs.setxattr(at('x'), 'user.color', 'blue', 'replace')),
  trusted('setxattr, trusted', (fs, at) => fs.setxattr(at('x'), 'trusted.mark', 'one')),
  operation('setxattr of no name space', (fs, at) => fs.setxattr(at('x'), 'color', 'blue')),
  operation('setxattr of much', (fs, at) => fs.setxattr(at('x'), 'user.new', Buffer.alloc(65_537))),
  operation('getxattr of a long name', (fs, at) => fs.getxattr(at('x'), `user.${'n'.repeat(251)}`)),
  operation('removexattr of no name', (fs, at) => fs.removexattr(at('x'), '')),
  operation('setxattr of a long name', (fs, at) => fs.setxattr(at('x'), `user.${'n'.repeat(251)}`, 'blue')),
  trusted('setxattr of the overlay', async (fs, at) => {
    await fs.setxattr(at('x'), 'trusted.overlay.opaque', 'y')
    return (await fs.getxattr(at('x'), 'trusted.overlay.opaque'))?.toString()
  }),
  operation('removexattr', (fs, at) => fs.removexattr(at('x'), 'user.color')),

  operation('chmod', (fs, at) => fs.chmod(at('x'), 0o4711)),
  operation('chmod, sticky and set-group-id', (fs, at) => fs.chmod(at('x'), 0o3710)),
  operation('chown', (fs, at) => fs.chown(at('x'), 1000, 1001)),
  operation('chown of the group', (fs, at) => fs.chown(at('x'), -1, 1001)),
  operation('chown to nobody else', (fs, at) => fs.chown(at('x'), -1, -1)),
  operation('lchown', (fs, at) => fs.lchown(at('x'), 1000, 1001)),
  operation('lchown there and back', async (fs, at) => {
    await fs.lchown(at('x'), 1000, 1001)
    await fs.lchown(at('x'), 0, 0)
  }),
  operation('utimes', (fs, at) => fs.utimes(at('x'), TIME, TIME)),
  operation('utimes before 1970', (fs, at) => fs.utimes(at('x'), BEFORE_1970, BEFORE_1970)),
  operation('lutimes', (fs, at) => fs.lutimes(at('x'), new Date(0), 4_000_000_000)),

  operation('mkdir', (fs, at) => fs.mkdir(at('x'), 0o2777)),
  operation('mkdir, sticky', (fs, at) => fs.mkdir(at('x'), 0o1707)),
  operation('mkdir, recursive', (fs, at) => fs.mkdir(at('x/d/e'), { recursive: true })),
  operation('symlink', (fs, at) => fs.symlink('/etc/ünïcödé', at('x'))),
  operation('symlink to a long path', (fs, at) => fs.symlink('n/'.repeat(2047), at('x'))),
  operation('symlink to a path too long', (fs, at) => fs.symlink('n'.repeat(4096), at('x'))),
  operation('symlink to nothing', (fs, at) => fs.symlink('', at('x'))),
  operation('mknod of a fifo', (fs, at) => fs.mknod(at('x'), 'fifo', { mode: 0o622 })),
  operation('mknod of a socket', (fs, at) => fs.mknod(at('x'), 'socket', { mode: 0o777 })),
  operation('mknod of a device', (fs, at) => fs.mknod(at('x'), 'char', { mode: 0o666, major: 1, minor: 3 })),
  operation('mknod of a block device', (fs, at) => fs.mknod(at('x'), 'block', { major: 300, minor: 70_000 })),
  operation('mknod of a whiteout', (fs, at) => fs.mknod(at('x'), 'char')),
  operation('link to a new name', (fs, at) => fs.link(at('x'), at('y'))),
  operation('link over it', (fs, at) => fs.link(at('other'), at('x'))),
  operation('link it to itself', (fs, at) => fs.link(at('x'), at('x'))),
  operation('link, unlink the first', async (fs, at) => {
    await fs.link(at('x'), at('y'))
    await fs.unlink(at('x'))
    return (await fs.lstat(at('y'))).nlink
  }),

  operation('unlink', (fs, at) => fs.unlink(at('x'))),
  operation('unlink twice', async (fs, at) => {
    await fs.unlink(at('x'))
    await fs.unlink(at('x'))
  }),
  operation('rmdir', (fs, at) => fs.rmdir(at('x'))),
  operation('rm', (fs, at) => fs.rm(at('x'))),
  operation('rm, force', (fs, at) => fs.rm(at('x'), { force: true })),
  operation('rm, recursive', (fs, at) => fs.rm(at('x'), { recursive: true })),
  operation('empty, rmdir', async (fs, at) => {
    for (const name of await fs.readdir(at('x'))) await fs.rm(at(`x/${name}`), { recursive: true })
    await fs.rmdir(at('x'))
  }),
  operation('remove, mkdir', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.mkdir(at('x'))
    return fs.readdir(at('x'))
  }),
  operation('remove, mkdir, remove', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.mkdir(at('x'))
    await fs.writeFile(at('x/new'), 'new')
    await fs.rm(at('x'), { recursive: true })
  }),
  operation('remove, make a file', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.writeFile(at('x'), 'another', { flag: 'wx' })
  }),
  operation('remove, make a file, remove', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.writeFile(at('x'), 'another')
    await fs.unlink(at('x'))
  }),
  operation('remove, symlink (fuse-overlayfs#279)', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.symlink('other', at('x'))
  }),
  operation('remove, mknod', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.mknod(at('x'), 'fifo')
  }),
  operation('remove, link another', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.link(at('other'), at('x'))
  }),
  operation('remove, rename another to it', async (fs, at) => {
    await fs.rm(at('x'), { recursive: true })
    await fs.rename(at('other'), at('x'))
  }),

  operation('make a file inside', (fs, at) => fs.writeFile(at('x/new'), 'inside')),
  operation('make a directory inside', (fs, at) => fs.mkdir(at('x/new'))),
  operation('make one of each inside', (fs, at) => makeAll(fs, (name) => at(`x/${name}`))),
  operation('write a file inside', (fs, at) => fs.appendFile(at('x/f'), 'inside')),
  operation('unlink inside', (fs, at) => fs.unlink(at('x/f'))),
  operation('replace inside by a directory', async (fs, at) => {
    await fs.unlink(at('x/f'))
    await fs.mkdir(at('x/f'), 0o700)
  }),
  operation('make again inside one of each', async (fs, at) => {
    await fs.unlink(at('x/f'))
    await makeAll(fs, (name) => at(`x/${name === 'file' ? 'f' : name}`))
  }),
  operation('reach below it', (fs, at) => fs.lstat(at('x/none/none'))),

  operation('rename to a new name', (fs, at) => fs.rename(at('x'), at('y'))),
  operation('rename to itself', (fs, at) => fs.rename(at('x'), at('x'))),
  operation('rename into itself', (fs, at) => fs.rename(at('x'), at('x/y'))),
  operation('rename over its directory', (fs, at) => fs.rename(at('x'), at(''))),
  operation('rename its directory over it', (fs, at) => fs.rename(at(''), at('x'))),
  operation('rename out of its directory', (fs, at) => fs.rename(at('x/f'), at('y'))),
  operation('rename another into it', (fs, at) => fs.rename(at('other'), at('x/f'))),
  operation('rename to a missing directory', (fs, at) => fs.rename(at('x'), at('y/z'))),
  operation('rename there and back', async (fs, at) => {
    await fs.rename(at('x'), at('y'))
    await fs.rename(at('y'), at('x'))
  }),
  operation('rename over a link of itself', (fs, at) => fs.rename(at('x'), at('x-link'))),
  operation('rename over a new link of itself', async (fs, at) => {
    await fs.link(at('x'), at('y'))
    await fs.rename(at('x'), at('y'))
  }),
  operation('rename, make another', async (fs, at) => {
    await fs.rename(at('x'), at('y'))
    await fs.mkdir(at('x'))
    return fs.readdir(at('x'))
  }),

  operation('is one file, before and after a chmod', (fs, at) =>
    identity(fs, at('x'), () => fs.chmod(at('x'), 0o600)),
  ),
  operation('is one file, before and after a rename', async (fs, at) => {
    const { ino, dev } = await fs.lstat(at('x'))
    await fs.rename(at('x'), at('y'))
    const after = await fs.lstat(at('y'))
    return [after.ino === ino, after.dev === dev]
  }),
  blocking('is one file, by path and as opened', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      const [opened, found] = [await file.stat(), await fs.stat(at('x'))]
      return [opened.ino === found.ino, opened.dev === found.dev]
    }),
  ),
  operation('has its own identity', async (fs, at) => {
    const { ino, dev } = await fs.lstat(at('x'))
    const [beside, above] = [await fs.lstat(at('other')), await fs.lstat(at(''))]
    return [ino === beside.ino && dev === beside.dev, ino === above.ino && dev === above.dev]
  }),
]

/** Whether inode and device are the same before and after a change. */
async function identity(fs: PosixFs, path: string, change: () => Promise<unknown>): Promise<unknown> {
  const before = await fs.stat(path)
  await change()
  const after = await fs.stat(path)
  return [after.ino === before.ino, after.dev === before.dev]
}

async function makeAll(fs: PosixFs, at: (name: string) => string): Promise<void> {
  await withFile(fs, at('file'), 'wx', async () => undefined, 0o2674)
  await fs.mkdir(at('directory'), 0o700)
  await fs.mkdir(at('directory/below'))
  await fs.symlink('nowhere', at('symlink'))
  await fs.mknod(at('fifo'), 'fifo')
}

async function typesIn(fs: PosixFs, path: string): Promise<string[]> {
  const entries = await fs.readdir(path, { withFileTypes: true })
  return entries.map((entry) => `${entry.name} ${typeOf(entry)}`).toSorted()
}

/** Leaves out sizes and link counts of directories, which depend on the file system. */
export function shown(stat: LayerStats): unknown {
  const { mode, uid, gid, rdev, nlink, size } = stat
  const counts = stat.isDirectory() ? [] : [nlink, stat.isFIFO() ? 0 : size]
  return [typeOf(stat), mode.toString(8), uid, gid, rdev, ...counts]
}

type Typed = Pick<LayerStats, 'isFile' | 'isDirectory' | 'isSymbolicLink' | 'isFIFO' | 'isSocket'>

function typeOf(of: Typed & Pick<LayerStats, 'isCharacterDevice' | 'isBlockDevice'>): string {
  if (of.isFile()) return 'file'
  if (of.isDirectory()) return 'directory'
  if (of.isSymbolicLink()) return 'symlink'
  if (of.isFIFO()) return 'fifo'
  if (of.isSocket()) return 'socket'
  return of.isCharacterDevice() ? 'char' : of.isBlockDevice() ? 'block' : 'nothing'
}
