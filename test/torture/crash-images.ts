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

/** Small, so that a round is quick; XFS refuses less than 300 MB. */
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
 * Attacks the promise that what a resolved call did is on disk after a power cut, and that recovery leaves no traces of
 * calls that the power cut interrupted.
 *
 * A worker process changes a store on a file system in an image file. The image lies on an XFS of the attack's own, which
 * clones it in one step: the clone holds what the file system had written at that moment, as a disk does after a power
 * cut. Each clone is mounted, which replays its journal, and its store is opened.
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
    const place = join(scratch, `round-${round}`)
    mkdirSync(place)
    const chosen = settings[(seed + round) % settings.length] as StoreSettings
    try {
      const images = await takeImages(fileSystem, place, chosen, seed + round, archives)
      for (const image of images) {
        const found = await examine(fileSystem, place, chosen, image)
        figures.images++
        figures['resolved calls'] += image.resolved
        figures['lost facts'] += found.lost.length
        figures.leaks += found.leaks.length
        for (const what of [...found.lost, ...found.leaks]) {
          violations.push(`${chosen.name} on ${fileSystem.name}, round ${round}: ${what}`)
        }
      }
    } finally {
      await unmountBelow(place)
      await run('rm', ['-rf', place])
    }
  }
  return { figures, violations }
}

/** Every engine that keeps its layers on the file system under attack. */
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
  /** How many calls had resolved. */
  readonly resolved: number
  readonly expected: Expected
}

async function takeImages(
  fileSystem: FileSystem,
  place: string,
  settings: StoreSettings,
  seed: number,
  archives: readonly string[],
): Promise<CrashImage[]> {
  const disk = await mountDisk(place)
  const image = join(disk, 'image')
  await makeImage(fileSystem, image)
  const mounted = join(place, 'mounted')
  mkdirSync(mounted)
  await run('mount', ['-t', fileSystem.name, '-o', fileSystem.mountOptions, image, mounted])
  const ledger = join(place, 'ledger')
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

/** A small XFS, in memory where the scratch directory's own disk would set the pace. */
async function mountDisk(place: string): Promise<string> {
  const [memory, disk] = [join(place, 'memory'), join(place, 'disk')]
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

/** Waits for a few calls to resolve, and then for a moment in the middle of another. */
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
  place: string,
  settings: StoreSettings,
  image: CrashImage,
): Promise<Found> {
  const mounted = join(place, 'mounted')
  const options = name === 'xfs' ? `${mountOptions},nouuid` : mountOptions
  await run('mount', ['-t', name, '-o', options, image.path, mounted])
  try {
    await using store = await openStore({ root: join(mounted, 'root'), ...optionsOf(settings) })
    const { problems } = await store.check()
    return {
      lost: [
        ...problems.map(({ kind, id, detail }) => `check tells ${kind} ${id}: ${detail}`),
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
    if (content !== value) found.push(`container ${id}: its synced file holds ${content.slice(0, 80)}`)
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
