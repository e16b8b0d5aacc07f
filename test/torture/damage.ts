import { execFileSync } from 'node:child_process'
import {
  lstatSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { openStore, StoreError, type Container, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import { removeTree } from '../support/mounts.js'
import type { Attack, AttackReport, Budget } from './attack.js'
import { randomOf, type Random } from './random.js'
import { layersOf } from '../support/store-parts.js'

/** Damaged files per round, each in a fresh copy of a root. */
const PER_ROUND = 12
/** Files whose damage check() cannot detect: locks, and the list of references, where a changed tag is a valid tag. */
const UNDETECTABLE = /(^|\/)(lock|.*\.lock|spare|.*\.held|repositories\.json)$/
/** Without a valid format file the store refuses to open, since a later version may own the root. */
const REFUSED_AT_OPEN = /^layerstack\/(format|[a-z0-9]+\.json)$/

/**
 * Flips a bit of a random file of a root, or truncates, deletes or replaces the file by a directory. The store must
 * return the right bytes or a typed error, its check must report the damage, and a repair from the archive must restore
 * the image.
 */
export const damage: readonly Attack[] = storeSettings
  // Only the kernel can check the filesystem image of `btrfs of the kernel`.
  .filter(({ driver, engine }) => !(driver === 'btrfs' && engine === 'kernel'))
  .map((settings) => ({
    name: `damaged files on ${settings.name}`,
    reason: settings.reason,
    run: (budget) => attack(settings, budget),
  }))

const CONTENT = { base: 'base '.repeat(2000), upper: 'upper '.repeat(2000) }

async function attack(settings: StoreSettings, budget: Budget): Promise<AttackReport> {
  const { archive, whole, own } = await prepare(settings, budget.scratch)
  const violations: string[] = []
  const figures = { damages: 0, 'refused at open': 0, told: 0, 'lost containers': 0 }
  const random = randomOf(budget.seed)
  while (figures.damages < PER_ROUND || budget.hasTime()) {
    const root = join(budget.scratch, `root-${figures.damages++}`)
    execFileSync('cp', ['-a', '--sparse=always', '--reflink=auto', whole, root])
    const file = random.of(
      filesOf(root).filter((path) => !path.includes(`/${own}/`) || path.endsWith('/link')),
    )
    const what = `${random.of(Object.keys(damages))} ${file}`
    damages[what.split(' ')[0] as string]?.(join(root, file), random)
    const trial = new Trial(settings, root, file, archive)
    try {
      await trial.run(figures)
    } catch (error) {
      trial.violations.push(`${(error as Error).stack}`)
    }
    violations.push(...trial.violations.map((violation) => `${what}: ${violation}`))
    await removeTree(root)
  }
  return { figures, violations }
}

const damages: Readonly<Record<string, (path: string, random: Random) => void>> = {
  flip: (path, random) => {
    const { size, atime, mtime } = lstatSync(path)
    if (size === 0) return rmSync(path)
    const file = openSync(path, 'r+')
    const byte = Buffer.alloc(1)
    // In the first MiB, since the rest of a sparse file may be a hole.
    const position = random.below(Math.min(size, 1 << 20))
    readSync(file, byte, 0, 1, position)
    byte[0] = (byte[0] as number) ^ (1 << random.below(8))
    writeSync(file, byte, 0, 1, position)
    closeSync(file)
    utimesSync(path, atime, mtime)
  },
  cut: (path, random) => truncateSync(path, random.below(lstatSync(path).size)),
  delete: (path) => rmSync(path),
  directory: (path) => {
    rmSync(path)
    mkdirSync(path)
  },
}

async function prepare(
  settings: StoreSettings,
  scratch: string,
): Promise<{ archive: string; whole: string; own: string }> {
  const [archive, whole] = [join(scratch, 'image.tar'), join(scratch, 'whole')]
  const base = await layerTar([
    { name: 'base', content: CONTENT.base },
    { name: 'gone', content: 'gone' },
  ])
  const upper = await layerTar([{ name: 'upper', content: CONTENT.upper }, { name: '.wh.gone' }])
  await writeArchive(archive, imageOf([base, upper], 'app:1'))
  await using store = await openStore({ root: whole, ...optionsOf(settings) })
  await store.load(archive)
  const container = await store.createContainer('app:1', { name: 'keeper' })
  await container.fs.writeFile('/mine', 'mine')
  await container.unmount()
  // A check cannot verify the content of a writable layer.
  const { mountId } = await layersOf(store).writables.require(container.id)
  return { archive, whole, own: mountId }
}

class Trial {
  readonly violations: string[] = []
  readonly #settings: StoreSettings
  readonly #root: string
  readonly #file: string
  readonly #archive: string

  constructor(settings: StoreSettings, root: string, file: string, archive: string) {
    this.#settings = settings
    this.#root = root
    this.#file = file
    this.#archive = archive
  }

  async run(figures: Record<'refused at open' | 'told' | 'lost containers', number>): Promise<void> {
    const store = await this.#typed('open', () =>
      openStore({ root: this.#root, ...optionsOf(this.#settings) }),
    )
    if (store === undefined) {
      figures['refused at open']++
      return
    }
    try {
      const wasRight = (await this.#imageIsRight(store)) && (await this.#keeperIsRight(store))
      const problems = (await this.#typed('check', () => store.check()))?.problems ?? []
      if (problems.length > 0) figures.told++
      if (problems.length === 0 && !wasRight && !UNDETECTABLE.test(this.#file)) {
        // A container that lost its record or its name cannot be detected.
        const isUnnamed =
          this.#file.startsWith('layerstack/containers/') &&
          (await store.containers()).every(({ name }) => name !== 'keeper')
        if (!isUnnamed)
          this.violations.push('check() reports no problem, but the image or the container cannot be read')
      }
      await this.#repair(store)
      if (!(await this.#keeperIsRight(store))) figures['lost containers']++
    } finally {
      await this.#typed('close', () => store.close())
    }
  }

  /** Removes containers that remain damaged. After that, the repair must succeed. */
  async #repair(store: Store): Promise<void> {
    const repair = { repair: true, from: this.#archive }
    await this.#typed('repair', () => store.check(repair))
    await this.#typed('load', () => store.load(this.#archive))
    let left = (await this.#typed('check', () => store.check()))?.problems ?? []
    if (left.length > 0) {
      for (const { id } of await store.containers()) {
        const container = await store.openContainer(id).catch(() => undefined)
        await container?.remove().catch(() => undefined)
      }
      await this.#typed('discard', () => store.check({ ...repair, discard: true }))
      await this.#typed('load', () => store.load(this.#archive))
      left = (await this.#typed('check', () => store.check()))?.problems ?? []
    }
    if (this.#isStoreFile()) return
    for (const { kind, detail } of left) this.violations.push(`after the repair: ${kind}: ${detail}`)
    if (!(await this.#imageIsRight(store))) this.violations.push('after the repair the image is damaged')
  }

  /** Whether the file contains all layers. Its damage cannot be repaired. */
  #isStoreFile(): boolean {
    return /^(btrfs\/layers\.cow|devicemapper\/devicemapper\/)/.test(this.#file)
  }

  /** False if it cannot be read. Wrong bytes are a violation. */
  async #imageIsRight(store: Store): Promise<boolean> {
    const container = await this.#typed('create', () => store.createContainer('app:1'))
    if (container === undefined) return false
    const isRight = await this.#isRight('the image', container, CONTENT)
    await this.#typed('remove', () => container.remove())
    return isRight
  }

  async #keeperIsRight(store: Store): Promise<boolean> {
    const container = await this.#typed('open a container', () => store.openContainer('keeper'))
    if (container === undefined) return false
    const isRight = await this.#isRight('the container', container, { ...CONTENT, mine: 'mine' })
    await this.#typed('unmount', () => container.unmount())
    return isRight
  }

  async #isRight(what: string, { fs }: Container, files: Readonly<Record<string, string>>): Promise<boolean> {
    let isRight = true
    try {
      const names = await fs.readdir('/')
      const wanted = Object.keys(files).toSorted().join()
      if (names.toSorted().join() !== wanted) {
        isRight = false
        if (!this.#isContent()) this.violations.push(`${what} shows ${names.join()} in /`)
      }
      for (const [path, content] of Object.entries(files)) {
        const found = await fs.readFile(`/${path}`, 'utf8')
        if (found === content) continue
        isRight = false
        if (!this.#isContent()) this.violations.push(`${what} has wrong bytes in /${path}`)
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error
      return false
    }
    return isRight
  }

  /** Whether only check() can detect the damage: files of a layer on the host's filesystem have no checksums. */
  #isContent(): boolean {
    return /^(vfs\/dir\/|overlay2\/[^/]+\/diff\/)/.test(this.#file)
  }

  async #typed<T>(call: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof StoreError)) this.violations.push(`${call}: ${(error as Error).stack}`)
      else if (call === 'open' && !REFUSED_AT_OPEN.test(this.#file) && !this.#isStoreFile())
        this.violations.push(`the store does not open: ${error.code} ${error.message}`)
      return undefined
    }
  }
}

function filesOf(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .toSorted()
}
