import type { Machine } from './machine.js'
import { median } from './statistics.js'

/** One run, as `--json` writes it: raw samples, so that whoever reads them may take other statistics. Times are in seconds. */
export interface Run {
  readonly version: 1
  /** RFC 3339. */
  readonly began: string
  readonly took: number
  readonly machine: Machine
  readonly results: readonly WorkloadResult[]
  /** Groups of results that are of other machines. */
  readonly elsewhere?: Readonly<Record<string, Elsewhere>>
}

interface Elsewhere {
  /** `in User-Mode Linux`. */
  readonly title: string
  readonly machine: Machine
}

export interface WorkloadResult {
  /** `group/rest`. */
  readonly workload: string
  readonly about: string
  /** Place on the axis of a chart that this is a point of. */
  readonly point?: { readonly series: string; readonly at: number }
  /** What it takes on disk is what it is for. */
  readonly growth?: boolean
  readonly contenders: readonly ContenderResult[]
}

export interface ContenderResult {
  readonly name: string
  readonly kind: 'driver' | 'floor' | 'peer'
  /** One for each round, in the order of the rounds. Empty where it could not run. */
  readonly samples: readonly Sample[]
  /** Why it did not run, or not to the end. */
  readonly failure?: string
  /** It is no failure: this machine lacks what it needs. */
  readonly notHere?: boolean
  /** The most memory that was resident while measuring, of all its processes that are known. */
  readonly peakMemory?: number
  /** Bytes that the disk holds more after one sample, by allocated blocks. */
  readonly allocated?: number
  /** How late the event loop came round, in seconds, while measuring. */
  readonly loopDelay?: { readonly p99: number; readonly max: number }
}

/** Seconds per operation. */
export interface Sample {
  readonly total: number
  /** Of processor time, of all threads, of children and of a daemon that works for it. */
  readonly cpu?: number
  readonly phases: Readonly<Record<string, number>>
  /** Not in the total: the sync that some leave out. */
  readonly asides?: Readonly<Record<string, number>>
}

/** What was measured in several sittings, on one machine. Of a workload that was measured twice the later counts. */
export function oneRun(runs: readonly Run[]): Run {
  const first = runs[0]
  if (first === undefined) throw new TypeError('there is no run')
  const results = new Map(runs.flatMap((run) => run.results.map((result) => [result.workload, result])))
  const elsewhere = Object.assign({}, ...runs.map((run) => run.elsewhere ?? {})) as Record<string, Elsewhere>
  const loads = runs.flatMap(({ machine }) => machine.load)
  return {
    ...first,
    took: runs.reduce((sum, { took }) => sum + took, 0),
    machine: {
      ...first.machine,
      peers: Object.assign({}, ...runs.map(({ machine }) => machine.peers)) as Machine['peers'],
      load: [Math.min(...loads), Math.max(...loads)],
    },
    results: [...results.values()],
    ...(Object.keys(elsewhere).length > 0 && { elsewhere }),
  }
}

/** Joins what was measured on another machine, as a group of its own. */
export function withRunElsewhere(run: Run, group: string, title: string, other: Run): Run {
  const results = other.results.map(({ workload, point, ...rest }) => ({
    ...rest,
    workload: `${group}/${workload}`,
    ...(point && { point: { ...point, series: `${group}/${point.series}` } }),
  }))
  return {
    ...run,
    results: [...run.results, ...results],
    elsewhere: { ...run.elsewhere, [group]: { title, machine: other.machine } },
  }
}

/**
 * What the same workload allocated on other machines, by drivers that this one has not: of all figures these alone compare.
 * Each has the title of its machine.
 */
export function allocatedElsewhere(
  { results, elsewhere = {} }: Run,
  { workload, growth, contenders }: WorkloadResult,
): { readonly contender: ContenderResult; readonly title: string }[] {
  if (growth !== true) return []
  const here = new Set(contenders.filter(({ samples }) => samples.length > 0).map(({ name }) => name))
  return Object.entries(elsewhere).flatMap(([group, { title }]) =>
    results
      .filter((other) => other.workload === `${group}/${workload}`)
      .flatMap((other) => other.contenders)
      .filter(({ name, kind, allocated }) => kind === 'driver' && allocated !== undefined && !here.has(name))
      .map((contender) => ({ contender, title })),
  )
}

export function groupOf(workload: string): string {
  return workload.slice(0, workload.indexOf('/'))
}

export function totals({ samples }: ContenderResult): number[] {
  return samples.map(({ total }) => total)
}

/** The floor that the others are measured by: the first that ran. */
export function floorOf({ contenders }: WorkloadResult): ContenderResult | undefined {
  return contenders.find(({ kind, samples }) => kind === 'floor' && samples.length > 0)
}

export function contenderOf({ contenders }: WorkloadResult, name: string): ContenderResult | undefined {
  return contenders.find((contender) => contender.name === name && contender.samples.length > 0)
}

export interface PhaseMedian {
  readonly name: string
  readonly median: number
}

/** Medians, in the order in which they were done. */
export function phasesOf({ samples }: ContenderResult): { phases: PhaseMedian[]; asides: PhaseMedian[] } {
  return {
    phases: medians(samples.map(({ phases }) => phases)),
    asides: medians(samples.map(({ asides = {} }) => asides)),
  }
}

function medians(all: readonly Readonly<Record<string, number>>[]): PhaseMedian[] {
  const names = new Set(all.flatMap((each) => Object.keys(each)))
  return [...names].map((name) => ({ name, median: median(all.flatMap((each) => each[name] ?? [])) }))
}

export function cpuOf({ samples }: ContenderResult): number | undefined {
  const measured = samples.flatMap(({ cpu }) => cpu ?? [])
  return measured.length === 0 ? undefined : median(measured)
}
