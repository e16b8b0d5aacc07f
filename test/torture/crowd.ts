import { join } from 'node:path'
import { openStore } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { optionsOf, storeSettings, type StoreSettings } from '../store/settings.js'
import { run } from '../support/program.js'
import type { Attack, AttackReport, Budget } from './attack.js'

const PROCESSES = 8
const ROUND_MS = 4000
const IMAGES = 30
const FILES = 2000
/** The longest time that a metadata call may take while other processes work, in ms. */
const LONGEST_MS = 1000
/** On a slow or busy machine, a call may take this many times the duration of a lone call, for each process. */
const TURNS = 4

/**
 * Attacks the promise that no call waits long for another process's metadata work. Six processes create and remove
 * containers and tags. Two others load, remove and prune images whose layers take long to delete.
 */
export const crowd: readonly Attack[] = storeSettings
  .filter(({ driver, engine }) => driver === 'overlay2' || (driver === 'vfs' && engine === undefined))
  .map((settings) => ({
    name: `crowd of ${PROCESSES} processes on ${settings.name}`,
    soaks: true,
    reason: settings.reason,
    run: (budget) => attack(settings, budget),
  }))

interface WorkerReport {
  readonly slowest: Readonly<Record<string, number>>
  readonly calls: number
}

async function attack(settings: StoreSettings, { scratch, hasTime }: Budget): Promise<AttackReport> {
  const root = join(scratch, 'root')
  const large = await prepare(settings, root, scratch)
  const alone = await worker(settings, root, ROUND_MS / 4)
  const limit = Math.max(LONGEST_MS, TURNS * PROCESSES * longest(alone))
  const violations: string[] = []
  const figures = { calls: 0, 'ms alone': Math.round(longest(alone)), 'ms at most': 0 }
  for (let round = 0; round === 0 || hasTime(); round++) {
    const reports = await Promise.all(
      Array.from({ length: PROCESSES }, (_, index) =>
        worker(settings, root, ROUND_MS, index < 2 ? large : undefined),
      ),
    )
    for (const report of reports) {
      figures.calls += report.calls
      figures['ms at most'] = Math.max(figures['ms at most'], Math.round(longest(report)))
      for (const [call, ms] of Object.entries(report.slowest)) {
        if (ms > limit)
          violations.push(`${call} took ${Math.round(ms)} ms, the limit is ${Math.round(limit)} ms`)
      }
    }
  }
  return { figures, violations }
}

function longest({ slowest }: WorkerReport): number {
  return Math.max(0, ...Object.values(slowest))
}

/** @returns the path of an archive whose layer has many files */
async function prepare(settings: StoreSettings, root: string, scratch: string): Promise<string> {
  await using store = await openStore({ root, ...optionsOf(settings) })
  const small = join(scratch, 'small.tar')
  for (let index = 0; index < IMAGES; index++) {
    const layer = await layerTar([{ name: `file-${index}`, content: 'x' }])
    await writeArchive(small, imageOf([layer], `small:${index}`))
    await store.load(small)
  }
  const large = join(scratch, 'large.tar')
  const files = Array.from({ length: FILES }, (_, index) => ({
    name: `file-${index}`,
    content: 'x'.repeat(5000),
  }))
  await writeArchive(large, imageOf([await layerTar(files)], 'large:1'))
  return large
}

async function worker(
  settings: StoreSettings,
  root: string,
  ms: number,
  archive?: string,
): Promise<WorkerReport> {
  const script = join(process.cwd(), 'test/torture/crowd-worker.mjs')
  const args = [root, JSON.stringify(optionsOf(settings)), String(ms)]
  const output = await run(process.execPath, [script, ...args, ...(archive === undefined ? [] : [archive])])
  return JSON.parse(output.toString()) as WorkerReport
}
