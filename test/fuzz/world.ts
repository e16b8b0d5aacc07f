import { treeOf, treesDiffer, type ConformanceOptions, type Tree } from '#layerstack/conformance/index.js'
import { chunksOf } from '#layerstack/conformance/tar-of.js'
import type { Driver, LayerView } from '#layerstack/drivers/driver.js'
import { StoreError } from '#layerstack/errors.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { LayerFileHandle, LayerFs, LayerStats } from '#layerstack/fs/facade/layer-fs.js'
import type { SyncFs, SyncStat } from '#layerstack/fs/sync-fs.js'
import { walk } from '#layerstack/fs/trees/walk.js'
import { entriesOf, type Entry } from './entries.js'
import { outcome, pathOf, takeFile, takeFs } from './fs-steps.js'
import { separateLinks, removeMarks, removeSockets, type Rules } from './differences.js'
import { FIXTURE } from './fixture.js'
import { takeRaw } from './raw-steps.js'
import type { FileStep, FsStep, LayerStep, RawStep } from './step.js'

const ROOT = '' as ByteString
const SECOND = 1_000_000_000n
/** Earlier than the clock of any machine. */
const SETTLED = 1_000_000_000n * SECOND

export type Contestant = Pick<ConformanceOptions, 'factory' | 'engine' | 'driverOptions'>

type Commit = Extract<LayerStep, { do: 'layer.commit' }>['how']

export interface Layer {
  readonly id: string
  readonly parent: Layer | undefined
  /** Its tree when it became read-only. */
  frozen?: Tree
}

/** The state that is compared after each step. */
export interface Look {
  readonly tree: Tree
  readonly changes: readonly string[]
  readonly entries: readonly Entry[]
  /** The diff, unless it contains times that differ between two runs or that the rules ignore. */
  readonly diff: Buffer | undefined
  /** Reasons why no diff can be made. */
  readonly refusals: readonly string[]
  /** The tree of the container's parent. */
  readonly below: Tree
}

/** One driver on a separate root, with the layers that a sequence has created so far. */
export class World {
  contestant: Contestant
  driver: Driver
  readonly root: string
  readonly #rules: Rules
  readonly #nowNs = BigInt(Date.now() - 1000) * 1_000_000n
  readonly #fixture: readonly Layer[]
  #layers: Layer[] = []
  #made = 0
  #entered: { readonly layer: Layer; readonly view: LayerView } | undefined
  readonly #files = new Map<number, LayerFileHandle>()

  private constructor(
    contestant: Contestant,
    root: string,
    driver: Driver,
    fixture: readonly Layer[],
    rules: Rules,
  ) {
    this.contestant = contestant
    this.root = root
    this.driver = driver
    this.#fixture = fixture
    this.#rules = rules
  }

  static async open(contestant: Contestant, root: string, rules: Rules): Promise<World> {
    const driver = await openOn(contestant, root)
    const fixture: Layer[] = []
    for (const [index, tar] of FIXTURE.entries()) {
      const parent = fixture.at(-1)
      const layer: Layer = { id: `fixture-${index}`, parent }
      await driver.create(layer.id, parent?.id)
      await driver.applyDiff(layer.id, parent?.id, chunksOf(tar))
      fixture.push(layer)
    }
    const world = new World(contestant, root, driver, fixture, rules)
    for (const layer of fixture) layer.frozen = await world.#treeOf(layer)
    return world
  }

  async close(): Promise<void> {
    await this.driver.cleanup()
  }

  /** Begins a sequence in a new container on the fixture. */
  async begin(): Promise<void> {
    this.#layers = [...this.#fixture]
    await this.container(this.#fixture.at(-1) as Layer)
  }

  /** Expects that no read-only layer has changed, and removes the layers of the sequence. */
  async end(): Promise<void> {
    await this.#leave()
    for (const layer of this.#layers) {
      if (layer.frozen !== undefined)
        mustBe(await this.#treeOf(layer), layer.frozen, `layer ${layer.id} at the end`)
    }
    for (const { id } of this.#layers.splice(this.#fixture.length).toReversed()) await this.driver.remove(id)
  }

  takeRaw(step: RawStep): Promise<string> {
    return outcome(() => takeRaw(this.#fs.syncFs, step, (stat) => this.#shown(stat)), false)
  }

  takeFs(step: FsStep): Promise<string> {
    return outcome(() => takeFs(this.#fs, step, (stat) => this.#shownStats(stat)))
  }

  takeFile(step: FileStep): Promise<string> {
    return outcome(async () => {
      const open = this.#files.get(step.file)
      if (step.do === 'file.open') {
        this.#files.set(step.file, await this.#fs.open(pathOf(step.path), step.flags, 0o644))
        await open?.close()
        return undefined
      }
      if (open === undefined) return 'no such file'
      if (step.do === 'file.close') this.#files.delete(step.file)
      return takeFile(open, step, (stat) => this.#shownStats(stat))
    })
  }

  async look(): Promise<Look> {
    const { id, parent } = this.#current
    const raw = this.#fs.syncFs
    const tree = this.#tree(raw)
    const below = parent?.frozen as Tree
    const diff = await this.diff().catch(refusalOf)
    if (typeof diff === 'string')
      return { tree, below, changes: [], entries: [], diff: undefined, refusals: [diff] }
    let clocked = !this.#rules.copiesUp
    const entries = entriesOf(diff, ({ type, mtimeNs }) => {
      if (type === 'directory' && !this.#rules.copiesUp) return ''
      if (mtimeNs < this.#nowNs) return String(mtimeNs)
      clocked = true
      return 'now'
    })
    const changes: string[] = []
    for await (const { kind, pathBytes } of this.driver.changes(id, parent?.id)) {
      changes.push(`${kind} ${pathBytes.toString('latin1').slice(1)}`)
    }
    return { tree, below, changes, entries, diff: clocked ? undefined : diff, refusals: [] }
  }

  /** Removes objects that no layer can contain from the container. */
  removeMarks(): Promise<void> {
    return removeMarks(this.#fs)
  }

  /** Read-only layers, which can have containers. */
  get frozen(): Layer[] {
    return this.#layers.filter(({ frozen }) => frozen !== undefined)
  }

  get containers(): Layer[] {
    return this.#layers.filter(({ frozen }) => frozen === undefined)
  }

  /** Layers that may be removed. */
  get loose(): Layer[] {
    const parents = new Set(this.#layers.map(({ parent }) => parent))
    return this.#layers
      .slice(this.#fixture.length)
      .filter((layer) => layer !== this.#current && !parents.has(layer))
  }

  /** Creates a container and enters it. */
  async container(on: Layer): Promise<void> {
    await this.#leave()
    const layer: Layer = { id: this.#newId(), parent: on }
    await this.driver.createReadWrite(layer.id, on.id)
    this.#layers.push(layer)
    await this.enter(layer)
    mustBe(this.#tree(this.#fs.syncFs), on.frozen as Tree, `a new container on ${on.id}`)
    if (!this.#rules.copiesUp) separateLinks(this.#fs.syncFs)
  }

  async enter(layer: Layer, options: { volatile?: boolean } = {}): Promise<void> {
    await this.#leave()
    this.#entered = { layer, view: await this.driver.get(layer.id, options) }
  }

  async get(volatile: boolean): Promise<void> {
    await this.enter(this.#current, { volatile })
  }

  async remove(layer: Layer): Promise<void> {
    await this.driver.remove(layer.id)
    this.#layers = this.#layers.filter((each) => each !== layer)
  }

  async compare(layer: Layer): Promise<string> {
    const { id } = this.#current
    const changes: string[] = []
    for await (const { kind, path } of this.driver.changes(id, layer.id)) changes.push(`${kind} ${path}`)
    return changes.join('\n')
  }

  diffSize(): Promise<number> {
    return this.driver.diffSize(this.#current.id, this.#current.parent?.id)
  }

  diff(): Promise<Buffer> {
    return collect(this.driver.diff(this.#current.id, this.#current.parent?.id))
  }

  /** Replaces times from the clock by a time that is the same on both sides. */
  setTimes(how: Commit): void {
    const { syncFs: raw } = this.#fs
    if (how !== 'in place' && how !== 'adopt') removeSockets(raw)
    const time = SETTLED + BigInt(this.#layers.length) * (SECOND + 1n)
    for (const { path, stat } of [{ path: ROOT, stat: raw.lstat(ROOT) }, ...walk(raw)]) {
      if (stat.mtimeNs >= this.#nowNs) raw.utimes(path, time, time)
    }
  }

  /** Makes a layer of the container, or of `diff`, and enters a new container on it. */
  async commit(how: 'in place' | 'adopt' | 'diff', diff?: Buffer): Promise<void> {
    const container = this.#current
    const tree = this.#tree(this.#fs.syncFs)
    await this.#leave()
    let layer = container
    if (how === 'adopt' && this.driver.adopt !== undefined) {
      layer = { id: this.#newId(), parent: container.parent }
      await this.driver.adopt(container.id, layer.id)
      this.#layers.splice(this.#layers.indexOf(container), 1, layer)
    } else if (how === 'diff') {
      layer = { id: this.#newId(), parent: container.parent }
      await this.driver.create(layer.id, container.parent?.id)
      await this.driver.applyDiff(layer.id, container.parent?.id, chunksOf(diff as Buffer))
      this.#layers.push(layer)
      layer.frozen = asTarsHold(tree, container.parent?.frozen as Tree)
      mustBe(await this.#treeOf(layer), layer.frozen, 'the layer made of a diff')
    }
    layer.frozen ??= tree
    await this.container(layer)
  }

  /** Opens the root again, with another driver if given. */
  async reopen(contestant = this.contestant): Promise<void> {
    const current = this.#current
    await this.#leave()
    await this.driver.cleanup()
    this.contestant = contestant
    this.driver = await openOn(contestant, this.root)
    await this.enter(current)
  }

  async #leave(): Promise<void> {
    for (const file of this.#files.values()) await file.close()
    this.#files.clear()
    const left = this.#entered
    this.#entered = undefined
    if (left !== undefined) await this.driver.put(left.layer.id)
  }

  get #current(): Layer {
    if (this.#entered === undefined) throw new Error('no container is entered')
    return this.#entered.layer
  }

  get #fs(): LayerFs {
    if (this.#entered === undefined) throw new Error('no container is entered')
    return this.#entered.view.fs
  }

  async #treeOf(layer: Layer): Promise<Tree> {
    const { fs } = await this.driver.get(layer.id)
    try {
      return this.#tree(fs.syncFs)
    } finally {
      await this.driver.put(layer.id)
    }
  }

  #tree(raw: SyncFs): Tree {
    const { copiesUp } = this.#rules
    return treeOf(raw, {
      times: (path, { type, mtimeNs }) =>
        mtimeNs < this.#nowNs && (type !== 'directory' || (copiesUp && path !== '/')),
    })
  }

  #shown(stat: SyncStat): string {
    const { type, mode, uid, gid, size, nlink, mtimeNs } = stat
    const words = [type, mode.toString(8), `${uid}:${gid}`]
    if (this.#rules.sameDiffs) words.push(`links=${nlink}`)
    if (type === 'file' || type === 'symlink') words.push(String(size))
    if (type !== 'directory') words.push(mtimeNs >= this.#nowNs ? 'now' : String(mtimeNs))
    return words.join(' ')
  }

  #shownStats(stat: LayerStats): string {
    const { mode, uid, gid, size, nlink } = stat
    const words = [mode.toString(8), `${uid}:${gid}`]
    if (this.#rules.sameDiffs) words.push(`links=${nlink}`)
    if (stat.isFile() || stat.isSymbolicLink()) words.push(String(size))
    return words.join(' ')
  }

  #newId(): string {
    return `layer-${(this.#made += 1)}`
  }
}

function openOn({ factory, engine = 'auto', driverOptions }: Contestant, root: string): Promise<Driver> {
  return factory.open({ root, engine, readOnly: false, driverOptions })
}

function refusalOf(error: unknown): string {
  if (error instanceof StoreError && error.code === 'LAYER_INVALID') return error.message
  throw error
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const collected: Uint8Array[] = []
  for await (const chunk of chunks) collected.push(chunk)
  return Buffer.concat(collected)
}

function mustBe(actual: Tree, expected: Tree, subject: string): void {
  const difference = treesDiffer(actual, expected)
  if (difference !== undefined) throw new Error(`${subject} differs from the expected tree:\n${difference}`)
}

/** The tree of a layer made of a tar: the root directory has the attributes of the parent. */
function asTarsHold(tree: Tree, below: Tree): Tree {
  return new Map([...tree, ['/', below.get('/') as string]])
}
