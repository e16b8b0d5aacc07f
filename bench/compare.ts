import {
  contenderOf,
  floorOf,
  totals,
  type ContenderResult,
  type Run,
  type WorkloadResult,
} from './result.js'
import { median, ratios, standardError, summarise } from './statistics.js'

export interface Difference {
  readonly workload: string
  readonly contender: string
  /** Medians: times the floor where both runs have one, else seconds. */
  readonly before: number
  readonly after: number
  readonly unit: 'times the floor' | 'seconds'
  /** 0.1 is a tenth slower. */
  readonly change: number
  /** A change as large as this may come about by chance. */
  readonly noise: number
  readonly verdict: 'slower' | 'faster' | 'same'
}

/** Standard errors that are still chance; and what no two runs on one machine agree better than. */
const SIGMAS = 3
const LEAST = 0.05

/**
 * What changed from one run to another, of all drivers that both had. It is judged by what the floor took in the same
 * rounds, so a machine that is busier or faster by now tells nothing.
 */
export function compareRuns(before: Run, after: Run): Difference[] {
  const found: Difference[] = []
  for (const now of after.results) {
    const then = before.results.find(({ workload }) => workload === now.workload)
    if (then === undefined) continue
    for (const { name, kind, samples } of now.contenders) {
      const old = contenderOf(then, name)
      if (kind !== 'driver' || samples.length === 0 || old === undefined) continue
      found.push(difference(then, now, name))
    }
  }
  return found
}

function difference(then: WorkloadResult, now: WorkloadResult, name: string): Difference {
  const floor = sharedFloor(then, now)
  const [before, after] = [then, now].map((result) => {
    const values = totals(contenderOf(result, name) as ContenderResult)
    if (floor === undefined) return values
    return ratios(values, totals(contenderOf(result, floor) as ContenderResult))
  }) as [number[], number[]]
  const [old, recent] = [median(before), median(after)]
  const noise = Math.max(LEAST, SIGMAS * Math.hypot(relativeError(before), relativeError(after)))
  const change = recent / old - 1
  return {
    workload: now.workload,
    contender: name,
    before: old,
    after: recent,
    unit: floor === undefined ? 'seconds' : 'times the floor',
    change,
    noise,
    verdict: Math.abs(change) <= noise ? 'same' : change > 0 ? 'slower' : 'faster',
  }
}

function sharedFloor(then: WorkloadResult, now: WorkloadResult): string | undefined {
  const floor = floorOf(now)?.name
  return floor !== undefined && contenderOf(then, floor) !== undefined ? floor : undefined
}

function relativeError(values: readonly number[]): number {
  const summary = summarise(values)
  return standardError(summary) / summary.median
}
