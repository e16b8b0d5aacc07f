import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { openStore, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import { removeTree } from '../support/mounts.js'
import { noLinux, notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'
import type { Attack, AttackReport, Budget } from './attack.js'
import { leftoversOf } from './leftovers.js'
import type { Inputs, Operation, operations, prepare } from './kill-operations.mjs'

/** Kills of one operation per round. */
const KILLS = 3
/** Every second kill of an atomic operation is followed by a kill of the next open. */
const REOPEN = 2
/** Fixes the dates in images, so that equal runs make equal images. */
const EPOCH = '1700000000'
const HERE = join(process.cwd(), 'test/torture')

/**
 * Kills each public call at each system call that changes a filesystem, and opens the store again. The results of
 * earlier calls must be intact, and the killed call must have happened completely or not at all.
 */
export const kills: readonly Attack[] = storeSettings.map((settings) => ({
  name: `kill at each system call on ${settings.name}`,
  reason: settings.reason ?? noLinux ?? notInstalled('cc', 'cp'),
  run: (budget) => new KillAttack(settings, budget).run(),
}))

interface Calls {
  readonly operations: typeof operations
  readonly prepare: typeof prepare
}

/** Facts about a store, one sentence each. */
type State = ReadonlySet<string>

interface Plan {
  readonly name: string
  readonly operation: Operation
  /** The state after the call without a kill. */
  readonly after: State
  /** Numbers of the remaining system calls to kill at, in order. */
  readonly calls: number[]
  readonly total: number
}

class KillAttack {
  readonly #settings: StoreSettings
  readonly #budget: Budget
  readonly #random: () => number
  readonly #violations: string[] = []
  readonly #figures = { kills: 0, 'kills of an open': 0, 'calls counted': 0, 'operations tried': 0 }
  readonly #before = new Set<string>()
  readonly #inputs: Inputs
  #trials = 0

  constructor(settings: StoreSettings, budget: Budget) {
    this.#settings = settings
    this.#budget = budget
    this.#random = randomOf(budget.seed)
    const path = (name: string): string => this.#path(`${name}.tar`)
    this.#inputs = {
      base: path('base'),
      unneeded: path('unneeded'),
      unnamed: path('unnamed'),
      layered: path('layered'),
      rootfs: path('rootfs'),
    }
  }

  async run(): Promise<AttackReport> {
    const path = pathToFileURL(join(HERE, 'kill-operations.mjs')).href
    const calls = (await import(path)) as Calls
    await run('cc', ['-O1', '-o', this.#path('kill-at'), join(HERE, 'kill-at.c')])
    const epoch = process.env['SOURCE_DATE_EPOCH']
    process.env['SOURCE_DATE_EPOCH'] = EPOCH
    try {
      await this.#makeBase(calls.prepare)
      await this.#tryAll(calls.operations)
    } finally {
      if (epoch === undefined) delete process.env['SOURCE_DATE_EPOCH']
      else process.env['SOURCE_DATE_EPOCH'] = epoch
    }
    return { figures: this.#figures, violations: this.#violations }
  }

  /** Tries the first operation, then the others in random order, then those with the smallest share of tried calls. */
  async #tryAll(all: Calls['operations']): Promise<void> {
    const [first = '', ...others] = Object.keys(all)
    const unplanned = [first, ...shuffled(others, this.#random)]
    const plans: Plan[] = []
    for (let round = 0; round === 0 || this.#budget.hasTime(); round++) {
      const name = unplanned.shift()
      if (name !== undefined) plans.unshift(await this.#plan(name, all[name] as Operation))
      else plans.sort((one, other) => triedShare(one) - triedShare(other))
      const plan = plans.find(({ calls }) => calls.length > 0)
      if (plan === undefined) return
      await this.#tryCalls(plan)
    }
  }

  async #tryCalls(plan: Plan): Promise<void> {
    for (let done = 0; done < KILLS && (done === 0 || this.#budget.hasTime()); done++) {
      const call = plan.calls.shift()
      if (call !== undefined) await this.#kill(plan, call)
    }
  }

  async #makeBase(prepareStore: Calls['prepare']): Promise<void> {
    const base = await layerTar([
      { name: 'etc/motd', content: 'hello\n' },
      { name: 'large', content: 'x'.repeat(100_000) },
    ])
    const upper = await layerTar([{ name: 'etc/.wh.motd' }, { name: 'new', content: 'new' }])
    const archives = {
      base: imageOf([base], 'base:1'),
      unneeded: imageOf([base, upper], 'unneeded:1'),
      unnamed: imageOf([upper], 'unnamed:1'),
      layered: imageOf([base, upper, upper], 'layered:1'),
    }
    for (const [name, parts] of Object.entries(archives)) await writeArchive(this.#path(`${name}.tar`), parts)
    await writeFile(this.#path('rootfs.tar'), base)
    const root = this.#path('base')
    {
      await using store = await openStore({ root, ...optionsOf(this.#settings) })
      await prepareStore(store, this.#inputs)
    }
    await using store = await openStore({ root, ...optionsOf(this.#settings) })
    for (const fact of await stateOf(store)) this.#before.add(fact)
  }

  /** Runs the call once without a kill, to count its system calls and to record the state after it. */
  async #plan(name: string, operation: Operation): Promise<Plan> {
    const trial = await this.#trial()
    try {
      const { code, calls } = await this.#work(trial, name, 0)
      if (code !== 0) throw new Error(`${name} on ${this.#settings.name} failed without a kill`)
      await using store = await this.#open(trial)
      const after = await stateOf(store)
      this.#figures['calls counted'] += calls
      this.#figures['operations tried']++
      const numbers = Array.from({ length: calls }, (_, index) => index + 1)
      return { name, operation, after, calls: shuffled(numbers, this.#random), total: calls }
    } finally {
      await removeTree(trial)
    }
  }

  async #kill(plan: Plan, call: number): Promise<void> {
    const { name, total, operation } = plan
    const trial = await this.#trial()
    let where = `${name} on ${this.#settings.name}, killed at call ${call} of ${total}`
    try {
      await this.#work(trial, name, call)
      this.#figures.kills++
      if (operation.atomic === true && this.#figures.kills % REOPEN === 0) {
        const reopening = 1 + Math.floor(this.#random() * 12)
        await this.#work(trial, 'open', reopening)
        this.#figures['kills of an open']++
        where += `, and the open after it at call ${reopening}`
      }
      for (const violation of await this.#violationsOf(plan, trial))
        this.#violations.push(`${where}: ${violation}`)
    } catch (error) {
      this.#violations.push(`${where}: ${String((error as Error).stack)}`)
    } finally {
      await removeTree(trial)
    }
  }

  async #violationsOf({ operation, after }: Plan, root: string): Promise<string[]> {
    await using store = await this.#open(root)
    const state = await stateOf(store)
    const { problems } = await store.check()
    const violations = [
      ...this.#stateViolations(operation, state, after),
      ...problems.map((problem) => `check() finds ${JSON.stringify(problem)}`),
      ...(await leftoversOf(store)),
    ]
    if (equal(state, after)) return violations
    try {
      await (operation.again ?? operation.run)(store, this.#inputs)
      const end = await stateOf(store)
      if (!equal(end, after)) violations.push(`after the call was repeated, ${difference(end, after)}`)
    } catch (error) {
      violations.push(`the call cannot be repeated: ${String((error as Error).stack)}`)
    }
    return violations
  }

  #stateViolations({ atomic = false }: Operation, state: State, after: State): string[] {
    const before = this.#before
    if (atomic) {
      if (equal(state, before) || equal(state, after)) return []
      return [
        `neither the state before nor the state after the call: compared with before, ${difference(state, before)}`,
      ]
    }
    const lost = [...before].filter((fact) => after.has(fact) && !state.has(fact))
    const foreign = [...state].filter((fact) => !before.has(fact) && !after.has(fact))
    return [...lost.map((fact) => `lost: ${fact}`), ...foreign.map((fact) => `unexpected: ${fact}`)]
  }

  #open(root: string): Promise<Store> {
    return openStore({ root, ...optionsOf(this.#settings) })
  }

  async #trial(): Promise<string> {
    const trial = this.#path(`trial-${this.#trials++}`)
    await run('cp', ['-a', '--sparse=always', '--reflink=auto', this.#path('base'), trial])
    return trial
  }

  async #work(root: string, operation: string, call: number): Promise<{ code: number; calls: number }> {
    const report = this.#path('calls')
    const options = JSON.stringify(optionsOf(this.#settings))
    const script = join(HERE, 'kill-worker.mjs')
    const args = [String(call), report, process.execPath, script, root, options, operation]
    const child = spawn(this.#path('kill-at'), [...args, JSON.stringify(this.#inputs)], {
      stdio: ['ignore', 'ignore', call === 0 ? 'inherit' : 'ignore'],
      env: { ...process.env, UV_THREADPOOL_SIZE: '1', SOURCE_DATE_EPOCH: EPOCH },
    })
    const [code] = (await once(child, 'exit')) as [number]
    return { code, calls: Number(readFileSync(report, 'utf8')) }
  }

  #path(name: string): string {
    return join(this.#budget.scratch, name)
  }
}

/** The state that callers see: images with names and parents, containers with their work. */
async function stateOf(store: Store): Promise<State> {
  const facts = new Set<string>()
  for (const { id, references, history } of await store.images()) {
    const { parent } = await store.inspect(id)
    facts.add(`image ${id} of ${parent} with ${history.length} steps`)
    for (const name of references) facts.add(`name ${name} of ${id}`)
  }
  for (const { name, image } of await store.containers()) {
    const container = await store.openContainer(name)
    const work = await container.fs.readFile('/work', 'utf8').catch(() => 'no work')
    await container.unmount()
    facts.add(`container ${name} on ${image}: ${work}`)
  }
  return facts
}

function triedShare({ calls, total }: Plan): number {
  return (total - calls.length) / total
}

function equal(one: State, other: State): boolean {
  return one.size === other.size && [...one].every((fact) => other.has(fact))
}

function difference(state: State, other: State): string {
  const more = [...state].filter((fact) => !other.has(fact))
  const less = [...other].filter((fact) => !state.has(fact))
  return `added: ${more.join('; ') || 'nothing'}, missing: ${less.join('; ') || 'nothing'}`
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item)
}

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
