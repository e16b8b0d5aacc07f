import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openStore, type Store } from '#layerstack/index.js'
import { ficlone } from '#layerstack/sys/clone.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts, notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'
import type { Attack, AttackReport, Budget } from './attack.js'
import { expected, readLedger, type Expected } from './crash-ledger.js'
import { leftoversOf } from './leftovers.js'

interface FileSystem {
  readonly name: 'ext4' | 'xfs' | 'btrfs'
  readonly make: readonly string[]
  readonly mountOptions: string
}

/** Small, so that a round is quick. XFS needs at least 300 MB. */
const SIZE = 320 << 20
const IMAGES = 4
const MOST_CALLS = 12
const PATIENCE_MS = 3000

const fileSystems: readonly FileSystem[] = [
  { name: 'ext4', make: ['mkfs.ext4', '-q'], mountOptions: 'loop' },
  { name: 'xfs', make: ['mkfs.xfs', '-q'], mountOptions: 'loop' },
  { name: 'btrfs', make: ['mkfs.btrfs', '-q'], mountOptions: 'loop' },
]

/**
 * Attacks two promises: the changes of a resolved call survive a power cut, and recovery leaves no traces of
 * interrupted calls.
 *
 * A worker process changes a store on a filesystem in an image file. The image file is on a separate XFS, which clones
 * it atomically: the clone contains what the filesystem had written at that moment, like a disk after a power cut. The
 * attack mounts each clone, which replays its journal, and opens its store.
 */
export const crashImages: readonly Attack[] = fileSystems.map((fileSystem) => ({
  name: `crash images of ${fileSystem.name}`,
  reason: noMounts ?? notInstalled('mkfs.xfs', fileSystem.make[0] ?? ''),
  run: (budget) => attack(fileSystem, budget),
}))

async function attack(fileSystem: FileSystem, { seed, scratch, hasTime }: Budget): Promise<AttackReport> {
  const settings = settingsOn(fileSystem)
  const violations: string[] = []
  const figures = { images: 0, 'resolved calls': 0, 'lost facts': 0, leaks: 0 }
  const archives = await writeArchives(scratch)
  for (let round = 0; round === 0 || hasTime(); round++) {
    const directory = join(scratch, `round-${round}`)
    mkdirSync(directory)
    const chosen = settings[(seed + round) % settings.length] as StoreSettings
    try {
      const images = await takeImages(fileSystem, directory, chosen, seed + round, archives)
      for (const image of images) {
        const found = await examine(fileSystem, directory, chosen, image)
        figures.images++
        figures['resolved calls'] += image.resolved
        figures['lost facts'] += found.lost.length
        figures.leaks += found.leaks.length
        for (const violation of [...found.lost, ...found.leaks]) {
          violations.push(`${chosen.name} on ${fileSystem.name}, round ${round}: ${violation}`)
        }
      }
    } finally {
      await unmountBelow(directory)
      await run('rm', ['-rf', directory])
    }
  }
  return { figures, violations }
}

/** Every engine that stores its layers on the filesystem under attack. */
function settingsOn({ name }: FileSystem): StoreSettings[] {
  const settings = storeSettings.filter(
    ({ reason, driver, engine }) => reason === undefined && !(driver === 'btrfs' && engine === 'kernel'),
  )
  return name === 'btrfs'
    ? [...settings, { name: 'btrfs of the kernel', driver: 'btrfs', engine: 'kernel' }]
    : settings
}

interface CrashImage {
  readonly path: string
  /** Number of resolved calls. */
  readonly resolved: number
  readonly expected: Expected
}

async function takeImages(
  fileSystem: FileSystem,
  directory: string,
  settings: StoreSettings,
  seed: number,
  archives: readonly string[],
): Promise<CrashImage[]> {
  const disk = await mountDisk(directory)
  const image = join(disk, 'image')
  await makeImage(fileSystem, image)
  const mounted = join(directory, 'mounted')
  mkdirSync(mounted)
  await run('mount', ['-t', fileSystem.name, '-o', fileSystem.mountOptions, image, mounted])
  const ledger = join(directory, 'ledger')
  const worker = await startWorker(join(mounted, 'root'), settings, ledger, seed, archives)
  const taken: { path: string; until: number; after: number }[] = []
  try {
    for (let count = 0; count < IMAGES; count++) {
      await moreCalls(worker, ledger)
      const path = join(disk, `crash-${count}`)
      const until = readLedger(ledger).length
      clone(image, path)
      taken.push({ path, until, after: readLedger(ledger).length })
    }
    if (worker.exitCode !== null)
      throw new Error(`the worker failed: ${readFileSync(ledger, 'utf8').slice(-2000)}`)
  } finally {
    await kill(worker)
    await unmountBelow(mounted)
  }
  const lines = readLedger(ledger)
  return taken.map(({ path, until, after }) => ({
    path,
    resolved: lines.slice(0, until).filter((line) => line.resolved !== undefined).length,
    expected: expected(lines, until, after),
  }))
}

/** Mounts a small XFS in memory, which is faster than the disk of the scratch directory. */
async function mountDisk(directory: string): Promise<string> {
  const [memory, disk] = [join(directory, 'memory'), join(directory, 'disk')]
  for (const path of [memory, disk]) mkdirSync(path)
  await run('mount', ['-t', 'tmpfs', '-o', 'size=2g', 'layerstack-torture', memory])
  const file = join(memory, 'disk')
  writeFileSync(file, '')
  truncateSync(file, 3 * 2 ** 30)
  await run('mkfs.xfs', ['-q', file])
  await run('mount', ['-t', 'xfs', '-o', 'loop', file, disk])
  return disk
}

async function makeImage({ make }: FileSystem, path: string): Promise<void> {
  const [program = '', ...args] = make
  writeFileSync(path, '')
  truncateSync(path, SIZE)
  await run(program, [...args, path])
}

function clone(from: string, to: string): void {
  const [source, copy] = [openSync(from, 'r'), openSync(to, 'wx')]
  try {
    if (!ficlone(source, copy)) throw new Error(`${from} cannot be cloned`)
  } finally {
    closeSync(source)
    closeSync(copy)
  }
}

async function startWorker(
  root: string,
  settings: StoreSettings,
  ledger: string,
  seed: number,
  archives: readonly string[],
): Promise<ChildProcess> {
  const script = join(process.cwd(), 'test/torture/crash-worker.mjs')
  const args = [script, root, JSON.stringify(optionsOf(settings)), ledger, String(seed), ...archives]
  const worker = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  while (!existsSync(ledger) && worker.exitCode === null) await sleep(10)
  return worker
}

/** Waits until a few calls have resolved, and then for a random time in another call. */
async function moreCalls(worker: ChildProcess, ledger: string): Promise<void> {
  const wanted = readLedger(ledger).length + 2 * Math.trunc(1 + Math.random() * MOST_CALLS)
  const end = Date.now() + PATIENCE_MS
  while (readLedger(ledger).length < wanted && Date.now() < end && worker.exitCode === null) await sleep(5)
  await sleep(Math.random() * 20)
}

async function kill(worker: ChildProcess): Promise<void> {
  if (worker.exitCode !== null || worker.signalCode !== null) return
  worker.kill('SIGKILL')
  await once(worker, 'exit')
}

interface Found {
  readonly lost: readonly string[]
  readonly leaks: readonly string[]
}

async function examine(
  { name, mountOptions }: FileSystem,
  directory: string,
  settings: StoreSettings,
  image: CrashImage,
): Promise<Found> {
  const mounted = join(directory, 'mounted')
  const options = name === 'xfs' ? `${mountOptions},nouuid` : mountOptions
  await run('mount', ['-t', name, '-o', options, image.path, mounted])
  try {
    await using store = await openStore({ root: join(mounted, 'root'), ...optionsOf(settings) })
    const { problems } = await store.check()
    return {
      lost: [
        ...problems.map(({ kind, id, detail }) => `check() reports ${kind} ${id}: ${detail}`),
        ...(await missing(store, image.expected)),
      ],
      leaks: await leftoversOf(store),
    }
  } catch (error) {
    return { lost: [`the store does not open: ${String((error as Error).stack)}`], leaks: [] }
  } finally {
    await unmountBelow(mounted)
  }
}

async function missing(store: Store, { images, tags, containers, files, gone }: Expected): Promise<string[]> {
  const found: string[] = []
  const names = new Map<string, string>()
  const ids = new Set<string>()
  for (const { id, references } of await store.images()) {
    ids.add(id)
    for (const name of references) names.set(name, id)
  }
  const records = new Set((await store.containers()).map(({ id }) => id))
  for (const id of images) if (!ids.has(id)) found.push(`image ${id} is lost`)
  for (const [name, id] of tags)
    if (names.get(name) !== id) found.push(`${name} is ${names.get(name)}, not ${id}`)
  for (const id of containers) if (!records.has(id)) found.push(`container ${id} is lost`)
  for (const id of gone)
    if (ids.has(id) || records.has(id) || names.has(id)) found.push(`${id} was removed and is back`)
  for (const [id, value] of files) {
    if (!records.has(id)) continue
    await using container = await store.openContainer(id)
    const content = await container.fs.readFile('/synced', 'utf8').catch((error: unknown) => String(error))
    if (content !== value) found.push(`container ${id}: its synced file contains ${content.slice(0, 80)}`)
  }
  return found
}

async function writeArchives(scratch: string): Promise<string[]> {
  const base = await layerTar([
    { name: 'etc/', type: 'directory' },
    { name: 'etc/motd', content: 'hello\n' },
    ...Array.from({ length: 60 }, (_, index) => ({
      name: `file-${index}`,
      content: 'x'.repeat(index * 200),
    })),
  ])
  const upper = await layerTar([{ name: 'etc/.wh.motd' }, { name: 'large', content: 'y'.repeat(1_000_000) }])
  return Promise.all(
    [[base], [base, upper], [upper, base]].map(async (layers, index) => {
      const path = join(scratch, `image-${index}.tar`)
      await writeArchive(path, imageOf(layers, `app:${index}`))
      return path
    }),
  )
}
