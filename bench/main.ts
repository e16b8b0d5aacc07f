/** `npm run bench`: runs the workloads, and prints and saves the results. */
import { readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { findProgram } from '../test/support/program.js'
import { Budget } from './budget.js'
import { compareRuns } from './compare.js'
import {
  driverContenders,
  onItsMount,
  withoutSyncs,
  type Contender,
  type DriverContender,
} from './contender.js'
import { mayMakeBtrfs, openDisk, type Disk } from './disk.js'
import { imageArchive } from './image.js'
import { describeMachine, machineLines, withLoadNow } from './machine.js'
import { parseOptions, usage, type Options } from './options.js'
import { page } from './page/page.js'
import { Progress } from './progress.js'
import { conclusion, report } from './report.js'
import { oneRun, withRunElsewhere, type Run, type WorkloadResult } from './result.js'
import { runWorkload, type Effort } from './schedule.js'
import { table } from './table.js'
import { fitsUml, IN_UML, noUml, runInUml, UML } from './uml.js'
import type { Workload } from './workload.js'
import { workloads } from './workloads.js'

type Thoroughness = Omit<Effort, 'patience'> & { readonly minutes: number }

const FULL: Thoroughness = {
  warmUp: { samples: 3, seconds: 0.4, most: 4 },
  rounds: 20,
  leastRounds: 3,
  minutes: 30,
  limit: 300,
}
const QUICK: Thoroughness = {
  warmUp: { samples: 1, seconds: 0, most: 0 },
  rounds: 5,
  leastRounds: 3,
  minutes: 3,
  limit: 300,
}

/** The weight of a heavy workload in the time budget; others have 1. */
const HEAVY = 3
/** The part of the time budget for all workloads in User-Mode Linux. */
const UML_SHARE = 0.15
/** Seconds per weight that a workload takes at most, so a run of few workloads doesn't use the whole budget. */
const ENOUGH = 60

const BTRFS = 'btrfs/kernel'
const MAPPER = 'devicemapper/kernel'
const MAPPED = '; it is measured in User-Mode Linux'

// If the reader of the pipe exits, the run still has to clean up its mounts.
process.stdout.on('error', () => undefined)

const options = parseOptions(process.argv.slice(2))
if (options.help) process.stdout.write(usage)
else if (options.show.length > 0) show(oneRun(options.show.map(readRun)), options)
else await main(options)

async function main({ only, drivers, modules, quick, list, ...given }: Options): Promise<void> {
  const isPeer = (name: string) => given.peers && (given.onlyPeers.length === 0 || isNamedPeer(given, name))
  await using disks = await openDisks(given.disks)
  let found = await driverContenders(disks.all, modules)
  if (
    found.refused.some(({ name }) => name === BTRFS) &&
    isAsked(drivers, BTRFS, 'btrfs') &&
    mayMakeBtrfs()
  ) {
    disks.all.push(await openDisk('btrfs'))
    found = await driverContenders(disks.all, modules)
  }
  const contenders = found.contenders.filter(({ name, driver }) => isAsked(drivers, name, driver))
  const named = workloads.filter(({ name }) => isNamed(only, name))
  const asked = named.filter(({ heavy, growth }) => !quick || !heavy || (growth === true && only.length > 0))
  if (named.length === 0)
    throw new TypeError(`no workload is named ${only.join(', ')}; --list shows the names`)
  if (contenders.length === 0)
    throw new TypeError(`none of these drivers works on this machine: ${drivers.join(', ')}`)
  const inUml = umlWorkloads()
  for (const { name, reason } of found.refused) {
    say(`skipping ${name}: ${reason}${name === MAPPER && inUml.length > 0 ? MAPPED : ''}`)
  }
  if (asked.length < named.length) say(`skipping ${named.length - asked.length} heavy workloads (--quick)`)
  if (list) {
    for (const workload of asked) {
      say(
        `${workload.name}\n    ${contendersOf(workload, contenders, isPeer, disks.all).map(nameOf).join(' · ')}`,
      )
    }
    for (const { name } of inUml) say(`${UML}/${name}`)
    return
  }

  const image = await imageArchive(given.image, asked)
  const { minutes, ...effort } = effortOf(given, quick)
  let machine = describeMachine(disks.all, [...new Set(peersOf(asked, isPeer).map(programOf))])
  for (const line of machineLines(machine)) say(line)

  const began = new Date().toISOString()
  const begun = performance.now()
  const results: WorkloadResult[] = []
  let elsewhere: Run | undefined
  const run = (): Run => {
    const took = (performance.now() - begun) / 1000
    const here: Run = { version: 1, began, took, machine: (machine = withLoadNow(machine)), results }
    return elsewhere === undefined ? here : withRunElsewhere(here, UML, IN_UML, elsewhere)
  }
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const progress = new Progress(process.stderr, asked.length + (inUml.length > 0 ? 1 : 0))
  const umlSeconds = inUml.length > 0 ? minutes * 60 * UML_SHARE : 0
  const budget = new Budget(minutes * 60 - umlSeconds, asked.map(weightOf))
  try {
    for (const workload of asked) {
      stop.signal.throwIfAborted()
      progress.next()
      const from = performance.now()
      const usual = Math.min(budget.next(), weightOf(workload) * ENOUGH)
      const patience = given.rounds === undefined ? usual : Infinity
      const result = await runWorkload(workload, contendersOf(workload, contenders, isPeer, disks.all), {
        directory: (disks.all[0] as Disk).directory,
        image,
        effort: { ...effort, patience },
        onStep: (step) => progress.show(step),
        signal: stop.signal,
      })
      budget.spend((performance.now() - from) / 1000)
      progress.clear()
      // A workload that was stopped before its first round has no result.
      if (stop.signal.aborted && result.contenders.every(({ samples }) => samples.length === 0)) break
      results.push(result)
      say(table(result))
      // Saved after each workload, so that a later failure loses nothing.
      if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(run()))
    }
    if (inUml.length > 0) await visitUml()
  } catch (error) {
    if (!stop.signal.aborted) throw error
    process.exitCode = 130
  } finally {
    progress.clear()
  }
  conclude(run(), given)

  /** Returns the workloads to run in User-Mode Linux, because this kernel has no device-mapper. */
  function umlWorkloads(): Workload[] {
    const lacks =
      found.refused.some(({ name }) => name === MAPPER) && isAsked(drivers, MAPPER, 'devicemapper')
    if (!lacks || !(given.uml ?? !quick)) return []
    const reason = noUml()
    if (reason === undefined) return asked.filter((workload) => fitsUml(workload, only.length === 0))
    say(`skipping ${MAPPER}: ${reason}`)
    return []
  }

  async function visitUml(): Promise<void> {
    stop.signal.throwIfAborted()
    progress.next()
    const last: string[] = []
    elsewhere = await runInUml({
      workloads: inUml,
      seconds: umlSeconds,
      rounds: given.rounds,
      quick,
      onLine: (line) => {
        progress.tell(`${IN_UML}: ${line}`)
        last.push(line)
        if (last.length > 20) last.shift()
      },
      signal: stop.signal,
    })
    progress.clear()
    if (elsewhere === undefined)
      return say(['\nUser-Mode Linux returned no results; its last output:', ...last].join('\n'))
    const joined = run()
    if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(joined))
    for (const line of machineLines(elsewhere.machine)) say(line)
    for (const result of joined.results.slice(results.length)) say(table(result))
  }
}

function effortOf({ rounds, budget }: Pick<Options, 'rounds' | 'budget'>, quick: boolean): Thoroughness {
  const usual = quick ? QUICK : FULL
  return {
    ...usual,
    ...(rounds !== undefined && { rounds, leastRounds: rounds }),
    ...(budget !== undefined && { minutes: budget }),
  }
}

function weightOf({ heavy }: Workload): number {
  return heavy ? HEAVY : 1
}

function show(run: Run, given: Options): void {
  for (const line of machineLines(run.machine)) say(line)
  for (const result of run.results) say(table(result, run))
  if (given.json !== undefined) writeFileSync(given.json, JSON.stringify(run))
  conclude(run, given)
}

/** Prints and writes what concerns the whole run, and sets the exit code. */
function conclude(run: Run, given: Pick<Options, 'compare' | 'html' | 'table'>): void {
  const comparison = given.compare === undefined ? undefined : compareRuns(readRun(given.compare), run)
  say(conclusion(run, comparison))
  if (given.html !== undefined) writeFileSync(given.html, page(run, comparison))
  if (given.table !== undefined) writeFileSync(given.table, report(run, comparison))
  if (comparison?.some(({ verdict }) => verdict === 'slower')) process.exitCode ??= 1
}

/** Returns the contenders of a workload. A contender that does not work on this machine fails when it prepares. */
function contendersOf(
  workload: Workload,
  drivers: readonly DriverContender[],
  isPeer: Asked,
  disks: readonly Disk[],
): Contender[] {
  const able = drivers.filter(({ maxDepth }) => maxDepth >= (workload.depth ?? 2))
  const mounts = able.filter(({ hostPath }) => hostPath && workload.onMount === true).map(onItsMount)
  const volatile = workload.unsynced === true ? able.map(withoutSyncs) : []
  const floors = Object.keys(workload.floors ?? {}).map((name) => ({ kind: 'floor', name }) as const)
  const peers = peersOf([workload], isPeer).map((name): Contender => {
    const needs = workload.peersOn?.[name]
    const disk = disks.find(({ fileSystem }) => fileSystem === needs)
    return { kind: 'peer', name, ...(disk !== undefined && { directory: disk.directory }) }
  })
  return [...able, ...mounts, ...volatile, ...floors, ...peers]
}

type Asked = (peer: string) => boolean

function peersOf(asked: readonly Workload[], isPeer: Asked): string[] {
  const names = asked.flatMap(({ peers = {} }) => Object.keys(peers))
  return [...new Set(names)].filter((name) => isPeer(name) && findProgram(programOf(name)) !== undefined)
}

function isNamedPeer({ onlyPeers }: Pick<Options, 'onlyPeers'>, name: string): boolean {
  return onlyPeers.includes(name) || onlyPeers.includes(programOf(name))
}

function programOf(peer: string): string {
  return peer.split(' ', 1)[0] as string
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
  if (run.version !== 1) throw new TypeError(`not a result of --json: ${path}`)
  return run
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
