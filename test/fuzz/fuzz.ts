import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { enterDirectory } from '../support/ledger.js'
import { removeTree } from '../support/mounts.js'
import { stepsOf } from './arbitrary.js'
import { Match } from './match.js'
import type { Pair } from './pairs.js'
import { showStep, showSteps, type Step } from './step.js'
import { World } from './world.js'

const LENGTH = 120

export interface Found {
  /** Number of steps taken before the failure. */
  readonly after: number
  readonly seed: number
  readonly steps: readonly Step[]
  readonly error: string
  /** Number of sequences tried to shrink it. */
  readonly tries: number
}

/**
 * Takes random sequences of steps on both sides of a pair, one sequence per seed, until `goesOn` returns false or the
 * sides disagree on a step. The same seed gives the same sequence.
 */
export async function fuzz(
  pair: Pair,
  seed: number,
  goesOn: (taken: { readonly steps: number; readonly sequences: number }) => boolean,
): Promise<{ steps: number; found: Found | undefined }> {
  const failed = new WeakMap<readonly Step[], number>()
  const sequences = stepsOf(LENGTH, (steps) => failed.get(steps))
  await using arena = await Arena.open(pair)
  let steps = 0
  for (let count = 0; goesOn({ steps, sequences: count }); count += 1) {
    let tries = 0
    const property = fc.asyncProperty(sequences, async (sequence) => {
      tries += 1
      let taken = 0
      try {
        for await (const _ of arena.steps(sequence)) taken += 1
      } catch (error) {
        failed.set(sequence, taken)
        throw error
      } finally {
        if (tries === 1) steps += taken
      }
    })
    const options = { seed: seed + count, numRuns: 1, unbiased: true } as const
    const details = await fc.check(property, options)
    if (details.failed) {
      const [shrunk] = details.counterexample as [Step[]]
      const error = details.errorInstance as Error
      return {
        steps,
        found: {
          seed: seed + count,
          after: steps,
          steps: shrunk,
          error: error.stack ?? String(error),
          tries,
        },
      }
    }
  }
  return { steps, found: undefined }
}

/** Takes the same steps on both sides, and throws if they disagree. */
export async function mustAgree(pair: Pair, steps: readonly Step[]): Promise<void> {
  await using arena = await Arena.open(pair)
  for await (const _ of arena.steps(steps));
}

/** A report with the steps as code for a test. */
export function showFound(pair: Pair, { seed, after, steps, error, tries }: Found): string {
  const found = `${pair.name}, seed ${seed}, after ${after} steps; ${steps.length} left after ${tries} tries`
  return `${found}:\n${showSteps(steps)}\n${error}`
}

/** Both drivers of a pair, opened once for many sequences, and again after a failure. */
class Arena implements AsyncDisposable {
  readonly #pair: Pair
  #match: Match | undefined
  #worlds: World[] = []
  #directory = ''
  #borrowed: (AsyncDisposable & { readonly path: string }) | undefined

  private constructor(pair: Pair) {
    this.#pair = pair
  }

  static async open(pair: Pair): Promise<Arena> {
    const arena = new Arena(pair)
    arena.#match = await arena.#open()
    return arena
  }

  async *steps(steps: readonly Step[]): AsyncGenerator<string, void, void> {
    const match = (this.#match ??= await this.#open())
    try {
      await match.begin()
      for (const step of steps) {
        try {
          yield await match.take(step)
        } catch (error) {
          throw new Error(`${showStep(step)}\n${(error as Error).message}`, { cause: error })
        }
      }
      await match.end()
    } catch (error) {
      await this[Symbol.asyncDispose]()
      throw error
    }
  }

  async #open(): Promise<Match> {
    const { rules, sides } = this.#pair
    this.#borrowed = await sides[1].filesystem?.()
    this.#directory = mkdtempSync(join(this.#borrowed?.path ?? tmpdir(), 'layerstack-fuzz-'))
    enterDirectory(this.#directory)
    for (const [index, side] of sides.entries()) {
      const root = join(this.#directory, String(index))
      mkdirSync(root)
      this.#worlds.push(await World.open(side, root, rules))
    }
    return new Match(this.#worlds as unknown as [World, World], rules)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#match = undefined
    for (const world of this.#worlds.splice(0)) await world.close()
    await removeTree(this.#directory)
    await this.#borrowed?.[Symbol.asyncDispose]()
    this.#borrowed = undefined
  }
}
