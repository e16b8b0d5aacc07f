import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { removeTree } from '../test/support/mounts.js'
import type { Contender } from './contender.js'
import type { WorkloadResult } from './result.js'
import { Side } from './side.js'
import type { Workload } from './workload.js'

export interface Effort {
  readonly warmUps: number
  readonly rounds: number
  /** Seconds after which a workload begins no further round, if it has had `leastRounds`. */
  readonly patience: number
  readonly leastRounds: number
}

export interface Stage {
  readonly directory: string
  readonly image: string | undefined
  readonly effort: Effort
  readonly onStep?: (step: Step) => void
  /** Ends the run after the sample that is being taken; rounds that were done count. */
  readonly signal?: AbortSignal
}

export interface Step {
  readonly workload: string
  readonly contender: string
  readonly doing: 'prepare' | 'warm up' | 'measure'
  readonly round: number
  readonly rounds: number
}

/** Milliseconds. */
const LONG = 500

/**
 * Lets all contenders do one workload, in turns: each round has one sample of each, and begins with another one, so that
 * whatever slows the machine for a while slows all.
 */
export async function runWorkload(
  workload: Workload,
  contenders: readonly Contender[],
  { directory, image, effort, onStep, signal }: Stage,
): Promise<WorkloadResult> {
  const places: string[] = []
  const sides: Side[] = []
  const step = (side: Side, doing: Step['doing'], round = 0): void =>
    onStep?.({
      workload: workload.name,
      contender: side.contender.name,
      doing,
      round,
      rounds: effort.rounds,
    })
  try {
    for (const contender of contenders) {
      signal?.throwIfAborted()
      const side = new Side(contender)
      sides.push(side)
      step(side, 'prepare')
      const own = contender.kind === 'driver' ? contender.directory : undefined
      // Short: options of a mount must fit in a page.
      const place = await mkdtemp(join(own ?? directory, 's'))
      places.push(place)
      await side.prepare(workload.name, place, image)
      const begun = performance.now()
      for (let turn = 0; turn < effort.warmUps; turn++) {
        step(side, 'warm up', turn)
        await side.warmUp()
        // What takes that long is warm by then.
        if (performance.now() - begun > LONG) break
      }
    }
    const begun = performance.now()
    for (let round = 0; round < effort.rounds; round++) {
      const spent = (performance.now() - begun) / 1000
      if (round >= effort.leastRounds && spent > effort.patience) break
      for (let turn = 0; turn < sides.length; turn++) {
        if (signal?.aborted === true) break
        const side = sides[(turn + round) % sides.length] as Side
        step(side, 'measure', round)
        await side.sample()
      }
    }
  } finally {
    await Promise.all(sides.map((side) => side.end()))
    for (const place of places) await removeTree(place)
  }
  const { name, about, point } = workload
  return { workload: name, about, ...(point && { point }), contenders: sides.map(({ result }) => result) }
}
