import { statfsSync, rmSync, mkdirSync, openSync, closeSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { openStore, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts } from '../support/needs.js'
import { run } from '../support/program.js'
import type { Attack, AttackReport, Budget } from './attack.js'
import type { Operation } from './crash-operations.mjs'
import { leftoversOf } from './leftovers.js'
import { layersOf } from '../support/store-parts.js'

const MB = 1 << 20
const SIZE = 48 * MB
const LARGEST_LAYER = 2 * MB
/** Free bytes of an operation's first attempt, and the factor from one attempt to the next. */
const FIRST_FREE = 4096
const GROWTH = 1.7
const PAGE = Buffer.alloc(4096, 1)
const NAMES = [
  'load',
  'createContainer',
  'commit',
  'consume',
  'flatten',
  'tag',
  'remove',
  'removeContainer',
  'prune',
]

/**
 * Attacks the promise that a full disk loses nothing. Fills a small filesystem except for a few bytes, and tries each
 * operation with more and more free space. The operation must resolve, or reject with `NO_SPACE` or `ENOSPC` and leave
 * the store unchanged. It must succeed eventually. Removal must work on a full disk.
 */
export const fullDisk: readonly Attack[] = storeSettings
  .filter(({ driver, engine }) => !(driver === 'btrfs' && engine === 'kernel'))
  .map((settings) => ({
    name: `full disk under ${settings.name}`,
    reason: noMounts ?? settings.reason,
    run: (budget) => attack(settings, budget),
  }))

async function attack(settings: StoreSettings, { seed, scratch, hasTime }: Budget): Promise<AttackReport> {
  const violations: string[] = []
  const figures = { operations: 0, refused: 0 }
  const archives = await writeArchives(scratch)
  for (let round = 0; round === 0 || hasTime(); round++) {
    const disk = join(scratch, `disk-${round}`)
    mkdirSync(disk)
    await run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'layerstack-torture', disk])
    try {
      const name = NAMES[(seed + round) % NAMES.length] as string
      const tried = new Trial(settings, disk, archives, name, await operationOf(name))
      await tried.run()
      figures.operations += tried.tries
      figures.refused += tried.refused
      violations.push(...tried.violations.map((violation) => `${name} on ${settings.name}: ${violation}`))
    } finally {
      await unmountBelow(disk)
    }
  }
  return { figures, violations }
}

/** One operation, tried with more and more free space until it succeeds. */
class Trial {
  readonly #settings: StoreSettings
  readonly #disk: string
  readonly #archives: readonly string[]
  readonly #name: string
  readonly #operation: Operation
  readonly violations: string[] = []
  tries = 0
  refused = 0

  constructor(
    settings: StoreSettings,
    disk: string,
    archives: readonly string[],
    name: string,
    operation: Operation,
  ) {
    this.#settings = settings
    this.#disk = disk
    this.#archives = archives
    this.#name = name
    this.#operation = operation
  }

  async run(): Promise<void> {
    await using store = await openStore({ root: join(this.#disk, 'root'), ...optionsOf(this.#settings) })
    for (const archive of this.#archives.slice(0, 2)) await store.load(archive)
    const container = await store.createContainer('app:0', { name: 'first' })
    await container.fs.writeFile('/written', 'x'.repeat(100_000))
    await container.unmount()
    let isDone = false
    for (let free = FIRST_FREE; free < SIZE && !isDone; free = Math.trunc(free * GROWTH)) {
      const filler = join(this.#disk, 'filler')
      fill(filler, free)
      const before = await stateOf(store)
      isDone = await this.#try(store, before, free)
      rmSync(filler, { force: true })
    }
    if (!isDone) this.violations.push('it fails despite enough free space')
    await this.#expectSound(store, 'at the end')
  }

  async #try(store: Store, before: string, free: number): Promise<boolean> {
    this.tries++
    try {
      await this.#operation(store, [this.#archives.at(-1) as string], removable)
      return true
    } catch (error) {
      this.refused++
      const { code } = error as { code?: string }
      const where = `with ${free} bytes free`
      if (code !== 'NO_SPACE' && code !== 'ENOSPC')
        this.violations.push(`${where} it rejects with ${String((error as Error).stack)}`)
      const removes = ['remove', 'removeContainer', 'prune'].includes(this.#name)
      if (removes) this.violations.push(`${where} nothing can be removed: ${String(error)}`)
      const after = await stateOf(store)
      if (!removes && this.#name !== 'commit' && after !== before)
        this.violations.push(`${where} it left ${after}, not ${before}`)
      await this.#expectSound(store, where)
      return false
    }
  }

  async #expectSound(store: Store, where: string): Promise<void> {
    const { problems } = await store.check()
    for (const { kind, detail } of problems)
      this.violations.push(`${where} check() reports ${kind}: ${detail}`)
    for (const leak of await leftoversOf(store)) this.violations.push(`${where} ${leak}`)
  }
}

/** Imports an operation at run time: its module is not compiled, since worker processes run it too. */
async function operationOf(name: string): Promise<Operation> {
  const path = join(process.cwd(), 'test/torture/crash-operations.mjs')
  const { operations } = (await import(pathToFileURL(path).href)) as typeof import('./crash-operations.mjs')
  const operation = operations[name]
  if (operation === undefined) throw new Error(`unknown operation: ${name}`)
  return operation
}

/** Picks the image without a container, or the first of other items. */
function removable<T>(items: readonly T[]): T {
  const names = (item: T) => (item as { references?: readonly string[] }).references ?? []
  return (items.find((item) => names(item).includes('app:1')) ?? items[0]) as T
}

async function stateOf(store: Store): Promise<string> {
  const images = (await store.images()).map(({ id, references }) => [id, references])
  const layers = (await layersOf(store).list()).map(({ chainId }) => chainId).toSorted()
  const containers = (await store.containers()).map(({ id }) => id).toSorted()
  return JSON.stringify({ images: images.toSorted(), layers, containers })
}

/** Fills the disk except for `free` bytes. */
function fill(path: string, free: number): void {
  const fd = openSync(path, 'w')
  try {
    const { bavail, bsize } = statfsSync(path)
    for (let left = bavail * bsize - free; left >= PAGE.length; left -= PAGE.length) writeSync(fd, PAGE)
  } finally {
    closeSync(fd)
  }
}

async function writeArchives(scratch: string): Promise<string[]> {
  const small = await layerTar([
    { name: 'etc/', type: 'directory' },
    { name: 'etc/motd', content: 'hello\n' },
  ])
  const other = await layerTar([{ name: 'other', content: 'z'.repeat(50_000) }])
  const large = await layerTar([{ name: 'large', content: 'y'.repeat(LARGEST_LAYER) }])
  return Promise.all(
    [[small], [other], [small, large]].map(async (layers, index) => {
      const path = join(scratch, `image-${index}.tar`)
      await writeArchive(path, imageOf(layers, `app:${index}`))
      return path
    }),
  )
}
