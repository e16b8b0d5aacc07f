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
  /** Medians: multiples of the floor if both runs have one, otherwise seconds. */
  readonly before: number
  readonly after: number
  readonly unit: 'times the floor' | 'seconds'
  /** Relative change: 0.1 is 10 % slower. */
  readonly change: number
  /** A relative change up to this may be chance. */
  readonly noise: number
  readonly verdict: 'slower' | 'faster' | 'same'
}

/** A change is noise up to this many standard errors, and always up to `LEAST`. */
const SIGMAS = 3
const LEAST = 0.05

/**
 * Compares the drivers that both runs measured. Times are relative to the floor of the same rounds, so a machine that
 * became slower or faster makes no difference.
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
