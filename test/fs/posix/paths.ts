import type { PathLike } from '#layerstack/fs/bytes.js'
import { blocking, operation, withFile, type At, type Operation, type PosixFs } from './operation.js'

type PathShape = readonly [name: string, path: (at: At) => string]

/** Ways to write a path to the object or into it. */
const SHAPES: readonly PathShape[] = [...['x/', 'x/.', 'x/..', 'x/f/', 'x/none/none', './/x'].map(named)]
/** Paths that do not depend on the object. */
const STRANGE: readonly PathShape[] = [
  ['nothing', () => ''],
  ['the root', () => '/'],
  ['above the root', (at) => `/../..${at('other')}`],
  ['a relative path', (at) => at('other').slice(1)],
  ['two slashes first', (at) => `/${at('other')}`],
  ['through a file', (at) => at('other/f')],
  ['through nothing', (at) => at('none/f')],
  ['back from nothing', (at) => at('none/../other')],
  ['a name of 255 bytes', (at) => at('n'.repeat(255))],
  ['a name of 256 bytes', (at) => at('n'.repeat(256))],
  ['below a name of 256 bytes', (at) => at(`${'n'.repeat(256)}/f`)],
  ['a path of 4095 bytes', (at) => pathOf(at, 4095)],
  ['a path of 4096 bytes', (at) => pathOf(at, 4096)],
  ['a zero byte', (at) => at('x\0')],
  ['a name that begins with .wh.', (at) => at('.wh.x')],
]

type Call = readonly [name: string, run: (fs: PosixFs, path: string, at: At) => Promise<unknown>]

const READS: readonly Call[] = [
  ['stat', async (fs, path) => (await fs.stat(path)).mode],
  ['lstat', async (fs, path) => (await fs.lstat(path)).mode],
  ['access', (fs, path) => fs.access(path)],
  ['realpath', (fs, path) => fs.realpath(path)],
  ['readlink', (fs, path) => fs.readlink(path)],
  ['readdir', async (fs, path) => (await fs.readdir(path)).includes('f')],
  ['readFile', (fs, path) => fs.readFile(path, 'latin1')],
  ['getxattr', async (fs, path) => (await fs.getxattr(path, 'user.color'))?.toString('hex')],
  ...(['r', 'rs'] as const).map(opening),
]
const CHANGES: readonly Call[] = [
  ...(['r+', 'w', 'wx', 'w+', 'a', 'ax', 'a+', 'rs+'] as const).map(opening),
  ['writeFile', (fs, path) => fs.writeFile(path, 'new', { mode: 0o600 })],
  ['appendFile', (fs, path) => fs.appendFile(path, 'more')],
  ['truncate', (fs, path) => fs.truncate(path, 3)],
  ['mkdir', (fs, path) => fs.mkdir(path)],
  ['mkdir, recursive,', (fs, path) => fs.mkdir(path, { recursive: true })],
  ['mknod', (fs, path) => fs.mknod(path, 'fifo')],
  ['symlink', (fs, path) => fs.symlink('target', path)],
  ['link', (fs, path, at) => fs.link(at('other'), path)],
  ['link from', (fs, path, at) => fs.link(path, at('made'))],
  ['rename', (fs, path, at) => fs.rename(at('other'), path)],
  ['rename from', (fs, path, at) => fs.rename(path, at('made'))],
  ['copyFile', (fs, path, at) => fs.copyFile(at('other'), path)],
  ['unlink', (fs, path) => fs.unlink(path)],
  ['rm', (fs, path) => fs.rm(path)],
]
/** Calls that never run on the root, which holds the directories of other cases. */
const DANGEROUS: readonly Call[] = [
  ['rm, recursive and force,', (fs, path) => fs.rm(path, { recursive: true, force: true })],
  ['rmdir', (fs, path) => fs.rmdir(path)],
  ['chmod', (fs, path) => fs.chmod(path, 0o711)],
  ['chown', (fs, path) => fs.chown(path, 5, 6)],
  ['lchown', (fs, path) => fs.lchown(path, 5, 6)],
  ['utimes', (fs, path) => fs.utimes(path, 11, new Date(22_000))],
  ['lutimes', (fs, path) => fs.lutimes(path, 11, 22.5)],
  ['setxattr', (fs, path) => fs.setxattr(path, 'user.color', 'red')],
]

/** Each call on each way to write a path to the object or into it. */
export const PATHS: readonly Operation[] = [...READS, ...CHANGES, ...DANGEROUS].flatMap((call) =>
  SHAPES.filter(([name]) => !(call[0].startsWith('rm, recursive') && name.endsWith('.'))).map((shape) =>
    made(call, shape),
  ),
)

export const STRANGE_PATHS: readonly Operation[] = [
  ...[...READS, ...CHANGES].flatMap((call) => STRANGE.map((shape) => made(call, shape))),
  ...DANGEROUS.flatMap((call) =>
    STRANGE.filter(([name]) => name !== 'the root').map((shape) => made(call, shape)),
  ),
  operation('follows 40 symlinks', (fs, at) => followed(fs, at, 40)),
  operation('follows 41 symlinks', (fs, at) => followed(fs, at, 41)),
  operation('follows a symlink to the root', async (fs, at) => {
    await fs.symlink('/', at('root'))
    return fs.readFile(at(`root/../..${at('other')}`), 'latin1')
  }),
  operation('follows a symlink that climbs', async (fs, at) => {
    await fs.symlink(`../../../../..${at('other')}`, at('climbs'))
    return [await fs.realpath(at('climbs')), await fs.readFile(at('climbs'), 'latin1')]
  }),
  operation('lists names of any bytes', async (fs, at) => {
    const name = Buffer.concat([Buffer.from(at('')), Buffer.from([0x2f, 0xff, 0xfe, 0x0a])]) as PathLike
    await fs.writeFile(name, 'bytes')
    const names = await fs.readdir(at(''), { encoding: 'buffer' })
    return names.map((each) => each.toString('hex')).toSorted()
  }),
]

const ENDS = [
  ['', ''],
  ['/', ''],
  ['', '/'],
  ['/', '/'],
  ['/.', ''],
  ['', '/.'],
] as const

/** Calls with two paths, to the objects `x` and `y`, each written in several ways. */
export const TWO_PATHS: readonly Operation[] = (
  [
    ['rename', (fs, from, to) => fs.rename(from, to)],
    ['link', (fs, from, to) => fs.link(from, to)],
    ['symlink', (fs, from, to) => fs.symlink(from, to)],
    ['copyFile', (fs, from, to) => fs.copyFile(from, to)],
  ] as readonly [string, (fs: PosixFs, from: string, to: string) => Promise<unknown>][]
).flatMap(([name, run]) =>
  ENDS.map(([from, to]) =>
    operation(`${name} x${from} y${to}`, (fs, at) => run(fs, at(`x${from}`), at(`y${to}`))),
  ),
)

function named(name: string): PathShape {
  return [name, (at) => at(name)]
}

function made([call, run]: Call, [shape, pathFrom]: PathShape): Operation {
  return blocking(`${call} ${shape}`, (fs, at) => run(fs, pathFrom(at), at))
}

function opening(flags: string): Call {
  return [`open ${flags}`, (fs, path) => withFile(fs, path, flags, async () => 'opened', 0o600)]
}

/** A path to `other` of this many bytes. */
function pathOf(at: At, length: number): string {
  return at('').padEnd(length - 'other'.length, '/') + 'other'
}

async function followed(fs: PosixFs, at: At, count: number): Promise<unknown> {
  await fs.symlink('other', at('s1'))
  for (let number = 2; number <= count; number += 1) await fs.symlink(`s${number - 1}`, at(`s${number}`))
  return fs.readFile(at(`s${count}`), 'latin1')
}
