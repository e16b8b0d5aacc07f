import { join } from 'node:path'
import { HostFs, layerFs, openStore } from 'layerstack'
import type { Container, LayerFs, Store } from 'layerstack'
import { treeOf, treesDiffer, type Tree } from 'layerstack/conformance'
import { noBtrfs } from '../drivers/btrfs-fixture.js'
import type { DriverSettings } from '../store/settings.js'
import { noMounts } from '../support/needs.js'
import type { Attack, AttackReport, Budget } from './attack.js'

/** The mtimes of all files: one has no fraction, and two are within one second. */
const TIMES = [1_500_000_000_000_000_000n, 1_500_000_000_500_000_000n, 1_600_000_000_123_456_789n]
const DIRECTORIES = ['/one', '/two', '/three', '/four']
const FILES = DIRECTORIES.flatMap((directory) => ['a', 'b', 'c'].map((name) => `${directory}/${name}`))
const STEPS = 12
const ROUNDS_OF_A_STORE = 4

/** Attacks the promise that `changes()` and `commit()` miss no change: random changes that keep sizes and times. */
export const missedWrites: readonly Attack[] = [
  attack('vfs', { driver: 'vfs' }),
  attack('overlay2 of the kernel', { driver: 'overlay2', engine: 'kernel' }, noMounts),
  attack('overlay2 in userspace', { driver: 'overlay2', engine: 'userspace' }),
  attack('btrfs of the kernel', { driver: 'btrfs', driverOptions: { loopback: { size: '256M' } } }, noBtrfs),
  attack('btrfs in userspace', { driver: 'btrfs', engine: 'userspace' }),
  attack('devicemapper in userspace', { driver: 'devicemapper', engine: 'userspace' }),
]

function attack(name: string, options: DriverSettings, reason?: Attack['reason']): Attack {
  return {
    name: `missed writes on ${name}`,
    ...(reason !== undefined && { reason }),
    run: (budget) => run(budget, options),
  }
}

async function run({ seed, scratch, hasTime }: Budget, options: DriverSettings): Promise<AttackReport> {
  const random = generator(seed)
  const figures = { changes: 0, comparisons: 0, commits: 0 }
  const violations: string[] = []
  for (let at = 0; at === 0 || hasTime(); at++) {
    await using store = await openStore({ root: join(scratch, `root${at}`), ...options })
    let container = await firstContainer(store, random)
    for (let round = 0; round < ROUNDS_OF_A_STORE && (round === 0 || hasTime()); round++) {
      const lower = await treeOfImage(store, container.image)
      const steps: string[] = []
      for (let step = 0; step < STEPS; step++) {
        steps.push(await change(container, random))
        figures.changes++
        const found = await missing(container, lower)
        figures.comparisons++
        if (found.length > 0)
          violations.push(`store ${at}, round ${round}: ${steps.join('; ')}: not listed: ${found.join()}`)
      }
      const tree = shown(container.fs)
      const image = await container.commit({ consume: random(2) === 0 })
      figures.commits++
      container = await store.createContainer(image.id)
      const difference = treesDiffer(shown(container.fs), tree)
      if (difference !== undefined)
        violations.push(`store ${at}, round ${round}: ${steps.join('; ')}: ${difference}`)
    }
  }
  return { figures, violations }
}

async function firstContainer(store: Store, random: Random): Promise<Container> {
  const empty = await store.import(emptyTar(), { reference: 'base:1' })
  const container = await store.createContainer(empty.id)
  for (const directory of DIRECTORIES) await container.fs.mkdir(directory)
  for (const file of FILES) await write(container.fs, file, random)
  const image = await container.commit({ consume: true })
  return store.createContainer(image.id)
}

async function* emptyTar(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(1024)
}

async function treeOfImage(store: Store, image: Container['image']): Promise<Tree> {
  await using container = await store.createContainer(image)
  const tree = shown(container.fs)
  await container.remove()
  return tree
}

/**
 * The tree without the times of directories, which do not count as changes, and without fractions of seconds, which
 * some filesystems and archives do not keep.
 */
function shown(fs: LayerFs): Tree {
  const tree = treeOf(fs.syncFs, { times: (_, { type }) => type !== 'directory' })
  return new Map([...tree].map(([path, line]) => [path, line.replace(/(mtime=\d+)\d{9}/, '$1')]))
}

/** Paths that differ from the image and that `changes()` does not list. */
async function missing(container: Container, lower: Tree): Promise<string[]> {
  const listed = new Set<string>()
  for await (const { path } of container.changes()) listed.add(path)
  const upper = shown(container.fs)
  const isListed = (path: string): boolean =>
    listed.has(path) ||
    (!upper.has(path) && path.includes('/', 1) && isListed(path.slice(0, path.lastIndexOf('/'))))
  return [...new Set([...upper.keys(), ...lower.keys()])].filter(
    (path) => objectAt(upper, path) !== objectAt(lower, path) && !isListed(path),
  )
}

/** The line of an object, the same for all of its hard links. */
function objectAt(tree: Tree, path: string): string | undefined {
  const line = tree.get(path)
  const first = / = (\/\S+)$/.exec(line ?? '')?.[1]
  return first === undefined ? line : tree.get(first)
}

/** Makes one change, through `container.fs` or through the host path as another program does. */
async function change(container: Container, random: Random): Promise<string> {
  const hostPath = random(2) === 0 ? await container.mount().catch(() => undefined) : undefined
  using host = hostPath === undefined ? undefined : new HostFs({ kind: 'host', root: hostPath })
  const fs = host === undefined ? container.fs : layerFs(host)
  const [file, other] = [random.of(FILES), random.of(FILES)]
  const [directory, second] = [random.of(DIRECTORIES), random.of(DIRECTORIES)]
  const actions: readonly (readonly [string, () => Promise<unknown>])[] = [
    [`write ${file}`, () => write(fs, file, random)],
    [`patch ${file}`, () => patch(fs, file, random)],
    [`replace ${file}`, () => replace(fs, file, random)],
    [`rename ${file} ${other}`, () => fs.rename(file, other)],
    [`link ${file} ${other}`, () => link(fs, file, other)],
    [`swap ${file} ${other}`, () => swap(fs, file, other)],
    [`swap ${directory} ${second}`, () => swap(fs, directory, second)],
    [`copy ${file} ${other}`, () => copy(fs, file, other)],
    [`symlink ${file}`, () => symlink(fs, file, random)],
    [`unlink ${file}`, () => fs.unlink(file)],
    [`pin ${file}`, () => pin(fs, file, random)],
  ]
  const [name, act] = random.of(actions)
  try {
    await act()
    return name
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (!EXPECTED.has(code ?? '')) throw error
    return `${name} (${code})`
  }
}

const EXPECTED = new Set(['ENOENT', 'EEXIST', 'EXDEV', 'ELOOP', 'ENOTDIR', 'EPERM'])

/** One of three contents of eight bytes: many files are equal, and all have the same size. */
function content(random: Random): Buffer {
  return Buffer.alloc(8, random.of(['a', 'b', 'c']))
}

async function write(fs: LayerFs, path: string, random: Random): Promise<void> {
  await fs.writeFile(path, content(random))
  await pin(fs, path, random)
}

async function patch(fs: LayerFs, path: string, random: Random): Promise<void> {
  const { mtimeNs } = await fs.lstat(path, { bigint: true })
  await using file = await fs.open(path, 'r+')
  await file.write(content(random), 0)
  await fs.lutimes(path, mtimeNs, mtimeNs)
}

async function replace(fs: LayerFs, path: string, random: Random): Promise<void> {
  await write(fs, '/new', random)
  await fs.rename('/new', path)
}

async function link(fs: LayerFs, from: string, to: string): Promise<void> {
  if (from === to) return
  await fs.rm(to, { force: true })
  await fs.link(from, to)
}

async function swap(fs: LayerFs, one: string, two: string): Promise<void> {
  if (one === two) return
  await fs.rename(one, '/aside')
  try {
    await fs.rename(two, one)
  } catch (error) {
    await fs.rename('/aside', one)
    throw error
  }
  await fs.rename('/aside', two)
}

/** Like `cp -p` over another file: two equal files instead of two hard links. */
async function copy(fs: LayerFs, from: string, to: string): Promise<void> {
  const { mtimeNs } = await fs.lstat(from, { bigint: true })
  await fs.writeFile('/new', await fs.readFile(from))
  await fs.lutimes('/new', mtimeNs, mtimeNs)
  await fs.rename('/new', to)
}

async function symlink(fs: LayerFs, path: string, random: Random): Promise<void> {
  await fs.rm(path, { force: true })
  await fs.symlink(random.of(['target-1', 'target-2']), path)
  await pin(fs, path, random)
}

async function pin(fs: LayerFs, path: string, random: Random): Promise<void> {
  const time = random.of(TIMES)
  await fs.lutimes(path, time, time)
}

interface Random {
  (below: number): number
  of<T>(items: readonly T[]): T
}

/** mulberry32 */
function generator(seed: number): Random {
  let state = seed
  const next = (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
  return Object.assign(next, { of: <T>(items: readonly T[]): T => items[next(items.length)] as T })
}
