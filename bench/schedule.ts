import { mkdtemp } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { removeTree } from '../test/support/mounts.js'
import type { Contender } from './contender.js'
import { ContenderProcess } from './contender-process.js'
import type { WorkloadResult } from './result.js'
import type { Workload } from './workload.js'

/**
 * Samples that do not count: at least `samples` of them, for at least `seconds`. After `most` seconds no further one
 * begins.
 */
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
   * Seconds for one workload, including preparation. After that, no round begins once `leastRounds` are done. After
   * twice that time, no round begins once one is done.
   */
  readonly patience: number
  /** Seconds after which a contender that does not answer is killed. */
  readonly limit: number
}

export interface Stage {
  readonly directory: string
  readonly image: string | undefined
  readonly effort: Effort
  readonly onStep?: (step: Step) => void
  /** Stops after the current sample. Completed rounds count. */
  readonly signal?: AbortSignal
}

export interface Step {
  readonly workload: string
  readonly contender: string
  readonly doing: 'prepare' | 'warm up' | 'measure'
  readonly round: number
  readonly rounds: number
}

/** A contender whose sample takes this many times its share of the time has only `leastRounds`. */
const GREEDY = 4

/**
 * Runs one workload with all contenders in turns. Each round takes one sample of each and begins with a different
 * contender, so a temporary slowdown of the machine affects all. Contenders prepare in parallel.
 */
export async function runWorkload(
  workload: Workload,
  contenders: readonly Contender[],
  { directory, image, effort, onStep, signal }: Stage,
): Promise<WorkloadResult> {
  const directories: string[] = []
  const children: ContenderProcess[] = []
  const step = (child: ContenderProcess, doing: Step['doing'], round = 0): void =>
    onStep?.({
      workload: workload.name,
      contender: child.contender.name,
      doing,
      round,
      rounds: effort.rounds,
    })
  const begun = performance.now()
  const spent = (): number => (performance.now() - begun) / 1000
  try {
    for (const { directory: own = directory } of contenders) {
      // Short names, because mount options must fit in a page.
      directories.push(await mkdtemp(join(own, 's')))
    }
    const several = pLimit(availableParallelism())
    await Promise.all(
      contenders.map((contender, index) =>
        several(async () => {
          if (signal?.aborted === true) return
          const child = (children[index] = new ContenderProcess(contender, effort.limit))
          step(child, 'prepare')
          await child.prepare(workload.name, directories[index] as string, image)
        }),
      ),
    )
    signal?.throwIfAborted()
    for (const child of workload.long === true ? [] : children) {
      const { samples, seconds, most } = effort.warmUp
      const cold = spent()
      for (let turn = 0; turn < samples || spent() - cold < seconds; turn++) {
        if (!child.works || signal?.aborted === true || (turn > 0 && spent() - cold > most)) break
        step(child, 'warm up', turn)
        await child.warmUp()
      }
    }
    const share = Math.max(0, effort.patience - spent()) / (effort.rounds * children.length)
    const leastRounds = workload.long === true ? Math.min(2, effort.leastRounds) : effort.leastRounds
    for (let round = 0; round < effort.rounds; round++) {
      if (round >= leastRounds && spent() > effort.patience) break
      if (round > 0 && spent() > 2 * effort.patience) break
      for (let turn = 0; turn < children.length; turn++) {
        if (signal?.aborted === true) break
        const child = children[(turn + round) % children.length] as ContenderProcess
        const isGreedy = child.contender.kind !== 'floor' && child.longest > GREEDY * share
        if (round >= leastRounds && isGreedy) continue
        step(child, 'measure', round)
        await child.sample()
      }
    }
  } finally {
    await Promise.all(children.map((child) => child.end()))
    for (const path of directories) await removeTree(path)
  }
  const { name, about, point, growth } = workload
  return {
    workload: name,
    about,
    ...(point && { point }),
    ...(growth === true && { growth }),
    contenders: children.map(({ result }) => result),
  }
}
