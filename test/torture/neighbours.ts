import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { openStore } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import type { Attack, AttackReport, Budget } from './attack.js'

const PROCESSES = 8
/** Long enough for every call to run beside every other. */
const ROUND_MS = 6_000
const WORKER = resolve(import.meta.dirname, workerPath('neighbours-worker.mjs'))

/**
 * Eight processes share a root: they load, create, commit, flatten, remove, prune, check with repair and compute the
 * disk usage. Whatever a process creates under its own names must stay until it removes it. A check must find no
 * problems.
 */
export const neighbours: readonly Attack[] = storeSettings.map((settings) => ({
  name: `eight processes on ${settings.name}`,
  soaks: true,
  reason: settings.reason,
  run: (budget) => attack(settings, budget),
}))

interface WorkerReport {
  readonly calls: number
  readonly slowest: number
  readonly slowestCall: string
  readonly violations: readonly string[]
}

interface ArchiveToLoad {
  readonly path: string
  readonly id: string
  readonly files: Readonly<Record<string, string>>
}

async function attack(settings: StoreSettings, budget: Budget): Promise<AttackReport> {
  const violations: string[] = []
  const figures = { rounds: 0, calls: 0, 'ms of the slowest call': 0 }
  for (let round = 0; round === 0 || budget.hasTime(); round++) {
    const root = join(budget.scratch, `root-${round}`)
    const archives = await archivesBelow(budget.scratch, root, settings)
    const reports = await Promise.all(
      Array.from({ length: PROCESSES }, (_, index) =>
        run({
          root,
          options: optionsOf(settings),
          name: `process${index}`,
          seed: budget.seed + 100 * round + index,
          time: ROUND_MS,
          archives,
          manager: index % 2 === 0,
        }),
      ),
    )
    figures.rounds++
    for (const report of reports) {
      figures.calls += report.calls
      figures['ms of the slowest call'] = Math.max(figures['ms of the slowest call'], report.slowest)
      violations.push(...report.violations)
    }
    await using store = await openStore({ root, ...optionsOf(settings) })
    for (const { kind, id, detail } of (await store.check()).problems) {
      violations.push(`at the end: ${kind} ${id}: ${detail}`)
    }
  }
  return { figures, violations }
}

/** Writes and loads archives of images that share a base layer. */
async function archivesBelow(
  scratch: string,
  root: string,
  settings: StoreSettings,
): Promise<ArchiveToLoad[]> {
  const base = await layerTar([{ name: 'base', content: 'base' }])
  const archives: ArchiveToLoad[] = []
  await using store = await openStore({ root, ...optionsOf(settings) })
  for (const name of ['one', 'two', 'three']) {
    const path = join(scratch, `${name}.tar`)
    const upper = await layerTar([{ name, content: name }])
    await writeArchive(path, imageOf([base, upper], `shared/${name}:1`))
    const [image] = await store.load(path)
    archives.push({ path, id: image?.id ?? '', files: { base: 'base', [name]: name } })
  }
  return archives
}

async function run(task: object): Promise<WorkerReport> {
  const worker = spawn(process.execPath, [WORKER, JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [output] = await Promise.all([text(worker.stdout), once(worker, 'exit')])
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as WorkerReport
}

/** Tests run this source file. `npm run torture` runs a compiled copy two directories below. */
function workerPath(file: string): string {
  return import.meta.filename.endsWith('.ts') ? file : join('..', '..', file)
}
