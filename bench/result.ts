import type { Machine } from './machine.js'
import { median } from './statistics.js'

/** One run, as `--json` writes it. It has all raw samples, for other statistics. Times are in seconds. */
export interface Run {
  readonly version: 1
  /** RFC 3339. */
  readonly began: string
  readonly took: number
  readonly machine: Machine
  readonly results: readonly WorkloadResult[]
  /** Groups of results that were measured on other machines. */
  readonly elsewhere?: Readonly<Record<string, Elsewhere>>
}

interface Elsewhere {
  /** Such as `In User-Mode Linux`. */
  readonly title: string
  readonly machine: Machine
}

export interface WorkloadResult {
  /** `group/rest`. */
  readonly workload: string
  readonly about: string
  /** The chart series that this workload is a point of, and its position on the axis. */
  readonly point?: { readonly series: string; readonly at: number }
  /** Whether the allocation on disk is the main result. */
  readonly growth?: boolean
  readonly contenders: readonly ContenderResult[]
}

export interface ContenderResult {
  readonly name: string
  readonly kind: 'driver' | 'floor' | 'peer'
  /** One for each round, in order. Empty if the contender could not run. */
  readonly samples: readonly Sample[]
  /** Why the contender did not run or did not finish. */
  readonly failure?: string
  /** Not a failure: this machine lacks something that the contender needs. */
  readonly notHere?: boolean
  /** Peak resident memory in bytes while measuring, of its process or daemon. */
  readonly peakMemory?: number
  /** Bytes in allocated blocks that one sample adds on disk. */
  readonly allocated?: number
  /** Delay of the event loop while measuring, in seconds. */
  readonly loopDelay?: { readonly p99: number; readonly max: number }
}

/** Seconds per operation. */
export interface Sample {
  readonly total: number
  /** Processor time of all threads, of children, and of a daemon that does the work. */
  readonly cpu?: number
  readonly phases: Readonly<Record<string, number>>
  /** Reported, but not in the total: the sync that a floor or peer omits. */
  readonly asides?: Readonly<Record<string, number>>
}

/** Joins several runs on one machine. If a workload was measured more than once, the last result counts. */
export function oneRun(runs: readonly Run[]): Run {
  const first = runs[0]
  if (first === undefined) throw new TypeError('no runs to join')
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

/** Adds the results of another machine to a run, as a separate group. */
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
 * Returns the drivers that ran this workload only on other machines, each with the title of its machine. Of their
 * figures, only the allocation on disk is comparable.
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

/** Returns the floor that others are compared with: the first that ran. */
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

/** Returns medians in the order of execution. */
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
