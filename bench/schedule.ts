import { mkdtemp } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { removeTree } from '../test/support/mounts.js'
import type { Contender } from './contender.js'
import type { WorkloadResult } from './result.js'
import { Side } from './side.js'
import type { Workload } from './workload.js'

/** Samples that do not count: at least so many, and for so many seconds; but after `most` seconds none is begun, if one was. */
interface WarmUp {
  readonly samples: number
  readonly seconds: number
  readonly most: number
}

export interface Effort {
  readonly warmUp: WarmUp
  readonly rounds: number
  readonly leastRounds: number
  /**
   * Seconds for one workload, with what prepares it: when they are over, and it has had `leastRounds`, it begins no
   * further round; nor when it has had one, and twice as many seconds.
   */
  readonly patience: number
  /** Seconds after which a side that does not answer is ended. */
  readonly limit: number
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

/** A side whose sample takes so many times its part of the time has no more of them than it must. */
const GREEDY = 4

/**
 * Lets all contenders do one workload, in turns: each round has one sample of each, and begins with another one, so that
 * whatever slows the machine for a while slows all. What prepares them is done for several at once.
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
  const begun = performance.now()
  const spent = (): number => (performance.now() - begun) / 1000
  try {
    for (const { directory: own = directory } of contenders) {
      // Short: options of a mount must fit in a page.
      places.push(await mkdtemp(join(own, 's')))
    }
    const several = pLimit(availableParallelism())
    await Promise.all(
      contenders.map((contender, index) =>
        several(async () => {
          if (signal?.aborted === true) return
          const side = (sides[index] = new Side(contender, effort.limit))
          step(side, 'prepare')
          await side.prepare(workload.name, places[index] as string, image)
        }),
      ),
    )
    signal?.throwIfAborted()
    for (const side of workload.long === true ? [] : sides) {
      const { samples, seconds, most } = effort.warmUp
      const cold = spent()
      for (let turn = 0; turn < samples || spent() - cold < seconds; turn++) {
        if (!side.works || signal?.aborted === true || (turn > 0 && spent() - cold > most)) break
        step(side, 'warm up', turn)
        await side.warmUp()
      }
    }
    const share = Math.max(0, effort.patience - spent()) / (effort.rounds * sides.length)
    const leastRounds = workload.long === true ? Math.min(2, effort.leastRounds) : effort.leastRounds
    for (let round = 0; round < effort.rounds; round++) {
      if (round >= leastRounds && spent() > effort.patience) break
      if (round > 0 && spent() > 2 * effort.patience) break
      for (let turn = 0; turn < sides.length; turn++) {
        if (signal?.aborted === true) break
        const side = sides[(turn + round) % sides.length] as Side
        const isGreedy = side.contender.kind !== 'floor' && side.longest > GREEDY * share
        if (round >= leastRounds && isGreedy) continue
        step(side, 'measure', round)
        await side.sample()
      }
    }
  } finally {
    await Promise.all(sides.map((side) => side.end()))
    for (const place of places) await removeTree(place)
  }
  const { name, about, point, growth } = workload
  return {
    workload: name,
    about,
    ...(point && { point }),
    ...(growth === true && { growth }),
    contenders: sides.map(({ result }) => result),
  }
}
