import { constants } from 'node:fs'
import type * as promises from 'node:fs/promises'

/** What Node's promises and a `LayerFs` have in common, as a call sees it: paths are made by `at`. */
export type Fs = typeof promises
export type At = (path: string) => string

export interface Call {
  readonly name: string
  readonly run: (fs: Fs, at: At) => Promise<unknown>
}

/** The tree that each call meets; it may do to it what it likes. */
export async function makeTree(fs: Fs, at: At, hardLinks: boolean): Promise<void> {
  await fs.mkdir(at('/dir/sub'), { recursive: true })
  await fs.mkdir(at('/empty'))
  await fs.writeFile(at('/file'), 'content\n', { mode: 0o640 })
  await fs.writeFile(at('/dir/inner'), 'inner')
  await fs.writeFile(at('/dir/sub/deep'), 'deep')
  await fs.writeFile(at('/dir/ünïcödé'), 'ü')
  await fs.symlink('file', at('/to-file'))
  await fs.symlink('dir', at('/to-dir'))
  await fs.symlink('nowhere', at('/dangling'))
  await fs.symlink('loop', at('/loop'))
  if (hardLinks) await fs.link(at('/file'), at('/hard'))
  for (const path of ['/file', '/dir/inner', '/dir/sub/deep']) await fs.utimes(at(path), 1000, 2000)
}

const names = [
  '/file',
  '/dir',
  '/empty',
  '/to-file',
  '/to-dir',
  '/dangling',
  '/loop',
  '/missing',
  '/file/below',
  '/missing/below',
  '/dir/inner',
  '/',
  '',
  '/dir/',
  '/file/',
  '/to-dir/',
  '/to-file/',
  '/dangling/',
  '/missing/',
  '/dir/.',
  '/dir/..',
  '/dir/../file',
  '/./file',
  '//file',
  `/${'n'.repeat(256)}`,
]
const pairs = [
  '/file',
  '/dir',
  '/empty',
  '/to-file',
  '/to-dir',
  '/dangling',
  '/missing',
  '/file/below',
  '/missing/below',
  '/dir/',
  '/missing/',
  '/file/',
  '/hard',
  '/dir/sub',
  '/dir/sub/new',
  '/dir/.',
]
const flags = ['r', 'r+', 'w', 'wx', 'w+', 'a', 'ax', 'a+', 'rs', 'rs+'] as const
const bits = {
  'creat|excl|rdwr': constants.O_CREAT | constants.O_EXCL | constants.O_RDWR,
  directory: constants.O_DIRECTORY,
  nofollow: constants.O_NOFOLLOW,
  'creat|rdonly': constants.O_CREAT,
  'directory|creat': constants.O_DIRECTORY | constants.O_CREAT,
  'trunc|rdwr': constants.O_TRUNC | constants.O_RDWR,
}

const each = (
  what: string,
  paths: readonly string[],
  run: (fs: Fs, path: string, at: At) => Promise<unknown>,
): Call[] =>
  paths.map((path) => ({
    name: `${what} ${path.slice(0, 40) || 'nothing'}`,
    run: (fs, at) => run(fs, at(path), at),
  }))

const two = (what: string, run: (fs: Fs, from: string, to: string) => Promise<unknown>): Call[] =>
  pairs.flatMap((from) =>
    pairs.map((to) => ({
      name: `${what} ${from} ${to}`,
      run: (fs: Fs, at: At) => run(fs, at(from), at(to)),
    })),
  )

export const calls: readonly Call[] = [
  ...each('readFile', names, (fs, path) => fs.readFile(path, 'utf8')),
  ...each('writeFile', names, (fs, path) => fs.writeFile(path, 'new', { mode: 0o600 })),
  ...each('appendFile', names, (fs, path) => fs.appendFile(path, 'more')),
  ...each('readdir', names, async (fs, path) => (await fs.readdir(path)).toSorted()),
  ...each('readdir, recursive,', ['/dir', '/to-dir', '/empty'], async (fs, path) =>
    (await fs.readdir(path, { recursive: true })).toSorted(),
  ),
  ...each('readdir with types', ['/dir', '/'], async (fs, path) =>
    (await fs.readdir(path, { withFileTypes: true }))
      .map((entry) => `${entry.name} ${entry.isFile()} ${entry.isDirectory()} ${entry.isSymbolicLink()}`)
      .toSorted(),
  ),
  ...each('readdir as bytes', ['/dir'], async (fs, path) =>
    (await fs.readdir(path, { encoding: 'buffer' })).map((name) => name.toString('hex')).toSorted(),
  ),
  ...each('mkdir', names, (fs, path) => fs.mkdir(path)),
  ...each(
    'mkdir, recursive,',
    [...names, '/a/b/c', '/dir/a/b', '/to-dir/a/b', '/dangling/a'],
    async (fs, path, at) => below(await fs.mkdir(path, { recursive: true }), at),
  ),
  // The root of the one is a directory of the other.
  ...each(
    'rmdir',
    names.filter((path) => path !== '/'),
    (fs, path) => fs.rmdir(path),
  ),
  ...each('rm', names, (fs, path) => fs.rm(path)),
  ...each(
    'rm, force,',
    names.filter((path) => path !== '/'),
    (fs, path) => fs.rm(path, { force: true }),
  ),
  ...each(
    'rm, recursive,',
    names.filter((path) => !['/', '', '/dir/.', '/dir/..', '/to-dir/'].includes(path)),
    (fs, path) => fs.rm(path, { recursive: true }),
  ),
  ...each('unlink', names, (fs, path) => fs.unlink(path)),
  ...each('stat', names, async (fs, path) => statOf(await fs.stat(path))),
  ...each('lstat', names, async (fs, path) => statOf(await fs.lstat(path))),
  ...each('stat, bigint,', ['/file'], async (fs, path) => {
    const { size, mtimeNs, mtimeMs, nlink } = await fs.stat(path, { bigint: true })
    return [size, mtimeNs, mtimeMs, nlink].map(String)
  }),
  ...each('access', names, (fs, path) => fs.access(path)),
  ...each('realpath', names, async (fs, path, at) => below(await fs.realpath(path), at)),
  ...each('readlink', names, (fs, path) => fs.readlink(path)),
  ...each('truncate', names, (fs, path) => fs.truncate(path, 3)),
  ...each('chmod', names, (fs, path) => fs.chmod(path, 0o711)),
  ...each('utimes', names, (fs, path) => fs.utimes(path, 11, new Date(22_000))),
  ...each('lutimes', names, (fs, path) => fs.lutimes(path, 11, 22.5)),
  ...each('symlink to', names, (fs, path) => fs.symlink('target', path)),
  ...two('rename', (fs, from, to) => fs.rename(from, to)),
  ...two('link', (fs, from, to) => fs.link(from, to)),
  // Of a directory Node's makes an error, too, but removes the target.
  ...two('copyFile', (fs, from, to) => fs.copyFile(from, to)).filter(
    ({ name }) => !/^copyFile \/(dir|empty|to-dir|dir\/|dir\/sub|dir\/\.) /.test(name),
  ),
  ...flags.flatMap((flag) => each(`open ${flag}`, names, (fs, path) => opened(fs, path, flag))),
  ...Object.entries(bits).flatMap(([name, flag]) =>
    each(`open ${name}`, names, (fs, path) => opened(fs, path, flag)),
  ),
]

async function opened(fs: Fs, path: string, flag: string | number): Promise<string> {
  const file = await fs.open(path, flag, 0o600)
  await file.close()
  return 'opened'
}

function statOf(stat: Awaited<ReturnType<Fs['stat']>>): unknown {
  const type = [stat.isFile(), stat.isDirectory(), stat.isSymbolicLink()].join(' ')
  const { mode, nlink, size } = stat
  return stat.isDirectory() ? [type, mode] : [type, mode, nlink, size]
}

/** Node tells host paths; the layer's own are what counts. */
function below(path: string | undefined, at: At): string | undefined {
  const root = at('/').replace(/\/+$/, '')
  return path === undefined ? undefined : path.slice(root.length) || '/'
}
