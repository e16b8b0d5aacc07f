/** `npm run bench`: measures, shows, and writes what was measured. */
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { findProgram } from '../test/support/program.js'
import { compareRuns } from './compare.js'
import { comparisonTable } from './comparison-table.js'
import { driverContenders, onItsMount, type Contender, type DriverContender } from './contender.js'
import { openDisk, type Disk } from './disk.js'
import { imageArchive } from './image.js'
import { describeMachine, machineLines, withLoadNow } from './machine.js'
import { parseOptions, usage, type Options } from './options.js'
import { page } from './page/page.js'
import { Progress } from './progress.js'
import { oneRun, type Run, type WorkloadResult } from './result.js'
import { runWorkload, type Effort } from './schedule.js'
import { table } from './table.js'
import { targetTable } from './target-table.js'
import type { Workload } from './workload.js'
import { workloads } from './workloads.js'

const FULL: Effort = { warmUps: 2, rounds: 20, leastRounds: 3, patience: 12 }
const QUICK: Effort = { warmUps: 1, rounds: 5, leastRounds: 3, patience: 3 }

// A pipe that nobody reads any more is no reason to leave mounts behind.
process.stdout.on('error', () => undefined)

const options = parseOptions(process.argv.slice(2))
if (options.help) process.stdout.write(usage)
else if (options.show.length > 0) show(oneRun(options.show.map(readRun)), options)
else await main(options)

async function main({ only, drivers, modules, quick, list, ...given }: Options): Promise<void> {
  const isPeer = (name: string) =>
    given.peers && (given.onlyPeers.length === 0 || given.onlyPeers.includes(name))
  await using disks = await openDisks(given.disks)
  const found = await driverContenders(disks.all, modules)
  const contenders = found.contenders.filter(({ name, driver }) => isAsked(drivers, name, driver))
  const asked = workloads.filter(({ name, heavy }) => isNamed(only, name) && !(quick && heavy))
  if (asked.length === 0) throw new TypeError(`no workload is called ${only.join(', ')}; --list names them`)
  if (contenders.length === 0) throw new TypeError(`no driver works here: ${drivers.join(', ')}`)
  for (const { name, reason } of found.refused) say(`${name} is left out: ${reason}`)
  if (list) {
    for (const workload of asked) {
      say(`${workload.name}\n    ${sidesOf(workload, contenders, isPeer).map(nameOf).join(' · ')}`)
    }
    return
  }

  const image = await imageArchive(given.image, asked)
  const effort = { ...(quick ? QUICK : FULL), ...(given.rounds && { rounds: given.rounds }) }
  let machine = describeMachine(disks.all, peersOf(asked, isPeer))
  for (const line of machineLines(machine)) say(line)

  const began = new Date().toISOString()
  const begun = performance.now()
  const results: WorkloadResult[] = []
  const run = (): Run => ({
    version: 1,
    began,
    took: (performance.now() - begun) / 1000,
    machine: (machine = withLoadNow(machine)),
    results,
  })
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const progress = new Progress(process.stderr, asked.length)
  try {
    for (const workload of asked) {
      stop.signal.throwIfAborted()
      progress.next()
      const sides = sidesOf(workload, contenders, isPeer)
      const result = await runWorkload(workload, sides, {
        directory: (disks.all[0] as Disk).directory,
        image,
        effort,
        onStep: (step) => progress.show(step),
        signal: stop.signal,
      })
      progress.clear()
      // One that was stopped before its first round tells nothing.
      if (stop.signal.aborted && result.contenders.every(({ samples }) => samples.length === 0)) break
      results.push(result)
      say(table(result))
      // What is measured is kept, whatever happens to the rest.
      if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(run()))
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    process.exitCode = 130
  } finally {
    progress.clear()
  }
  conclude(run(), given)
}

function show(run: Run, given: Options): void {
  for (const line of machineLines(run.machine)) say(line)
  for (const result of run.results) say(table(result))
  if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(run))
  conclude(run, given)
}

/** What is told of a whole run. */
function conclude(run: Run, { compare, html }: Pick<Options, 'compare' | 'html'>): void {
  const comparison = compare === undefined ? undefined : compareRuns(readRun(compare), run)
  say(targetTable(run))
  if (comparison !== undefined) say(comparisonTable(comparison))
  if (html !== undefined) writeFileSync(html, page(run, comparison))
  if (comparison?.some(({ verdict }) => verdict === 'slower')) process.exitCode ??= 1
}

/** Who does a workload here. A side that turns out not to work says so itself. */
function sidesOf(workload: Workload, drivers: readonly DriverContender[], isPeer: Asked): Contender[] {
  const able = drivers.filter(({ maxDepth }) => maxDepth >= (workload.depth ?? 2))
  const mounts = able.filter(({ hostPath }) => hostPath && workload.onMount === true).map(onItsMount)
  const floors = Object.keys(workload.floors ?? {}).map((name) => ({ kind: 'floor', name }) as const)
  const peers = peersOf([workload], isPeer).map((name) => ({ kind: 'peer', name }) as const)
  return [...able, ...mounts, ...floors, ...peers]
}

type Asked = (peer: string) => boolean

function peersOf(asked: readonly Workload[], isPeer: Asked): string[] {
  const names = asked.flatMap(({ peers = {} }) => Object.keys(peers))
  return [...new Set(names)].filter((name) => isPeer(name) && findProgram(name) !== undefined)
}

async function openDisks(asked: readonly string[]): Promise<{ all: Disk[] } & AsyncDisposable> {
  const all: Disk[] = []
  const dispose = async (): Promise<void> => {
    for (const disk of all) await disk[Symbol.asyncDispose]()
  }
  try {
    for (const each of asked.length === 0 ? [tmpdir()] : asked) all.push(await openDisk(each))
  } catch (error) {
    await dispose()
    throw error
  }
  return { all, [Symbol.asyncDispose]: dispose }
}

function isNamed(only: readonly string[], name: string): boolean {
  return only.length === 0 || only.some((beginning) => name.startsWith(beginning))
}

function isAsked(drivers: readonly string[], name: string, driver: string): boolean {
  return drivers.length === 0 || drivers.some((asked) => asked === name || asked === driver)
}

function nameOf({ name, kind }: Contender): string {
  return kind === 'driver' ? name : `${kind} ${name}`
}

function readRun(path: string): Run {
  const run = JSON.parse(readFileSync(path, 'utf8')) as Run
  if (run.version !== 1) throw new TypeError(`${path} is no run of this suite`)
  return run
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
