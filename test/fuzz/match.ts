import { treesDiffer } from '#layerstack/conformance/index.js'
import {
  cannotBeTaken,
  isRefused,
  rankOf,
  sameResult,
  underRules,
  withoutUnchanged,
  type Rules,
} from './differences.js'
import type { FileStep, FsStep, LayerStep, RawStep, Step } from './step.js'
import type { Look, World } from './world.js'

/** Two drivers on separate roots that take the same steps. */
export class Match {
  readonly #worlds: readonly [World, World]
  readonly #rules: Rules

  constructor(worlds: readonly [World, World], rules: Rules) {
    this.#worlds = worlds
    this.#rules = rules
  }

  async begin(): Promise<void> {
    for (const world of this.#worlds) await world.begin()
    await this.compare()
  }

  async end(): Promise<void> {
    for (const world of this.#worlds) await world.end()
  }

  /** Takes a step on both sides, and throws if they differ. */
  async take(drawn: Step): Promise<string> {
    const step = underRules(drawn, this.#rules)
    const result = step.do.startsWith('layer.')
      ? await this.#takeLayerStep(step as LayerStep)
      : await this.#ask(step)
    await this.compare()
    return result
  }

  async compare(): Promise<void> {
    const [one, other] = [await this.#worlds[0].look(), await this.#worlds[1].look()]
    mustNotDiffer('the trees', treesDiffer(one.tree, other.tree))
    mustAgree('the objects that a layer cannot contain', one.refusals, other.refusals)
    if (one.refusals.length > 0) {
      for (const world of this.#worlds) await world.removeMarks()
      return this.compare()
    }
    const [ours, theirs] = this.#rules.sameDiffs
      ? [one, other]
      : [withoutUnchanged(one), withoutUnchanged(other)]
    mustAgree('the changes', ours.changes, theirs.changes)
    mustAgree('the diffs', linesOf(ours), linesOf(theirs))
    if (
      this.#rules.sameDiffs &&
      one.diff !== undefined &&
      other.diff !== undefined &&
      !one.diff.equals(other.diff)
    ) {
      throw new Error('the diffs have the same entries but different bytes')
    }
  }

  async #ask(step: Step): Promise<string> {
    if (step.do === 'fs.both' && !this.#rules.sameDiffs) {
      return `${await this.#ask(step.steps[0])}; ${await this.#ask(step.steps[1])}`
    }
    const [a, b] = this.#worlds
    if (cannotBeTaken(step)) return 'not taken'
    const [first, second] = rankOf(a) >= rankOf(b) ? [a, b] : [b, a]
    const expected = await take(first, step)
    if (isRefused(step, expected, rankOf(first), rankOf(second))) return `${expected}, by one side`
    const actual = await take(second, step)
    if (sameResult(actual, expected, step)) return actual
    throw new Error(`${nameOf(first)} says ${expected}\n${nameOf(second)} says ${actual}`)
  }

  async #takeLayerStep(step: LayerStep): Promise<string> {
    const [a, b] = this.#worlds
    switch (step.do) {
      case 'layer.commit': {
        for (const world of this.#worlds) world.setTimes(step.how)
        await this.compare()
        if (step.how === 'diff of the other') {
          const diffs = [await a.diff(), await b.diff()] as const
          await a.commit('diff', diffs[1])
          await b.commit('diff', diffs[0])
        } else for (const world of this.#worlds) await world.commit(step.how, await world.diff())
        return 'ok'
      }
      case 'layer.container':
        return this.#each(
          (world) => pick(world.frozen, step.on),
          (world, layer) => world.container(layer),
        )
      case 'layer.enter':
        return this.#each(
          (world) => pick(world.containers, step.layer),
          (world, layer) => world.enter(layer),
        )
      case 'layer.remove':
        return this.#each(
          (world) => pick(world.loose, step.layer),
          (world, layer) => world.remove(layer),
        )
      case 'layer.get':
        for (const world of this.#worlds) await world.get(step.volatile)
        return 'ok'
      case 'layer.reopen': {
        const swaps = this.#rules.interchange
        const [ours, theirs] = [a.contestant, b.contestant]
        await a.reopen(swaps ? theirs : ours)
        await b.reopen(swaps ? ours : theirs)
        return 'ok'
      }
      case 'layer.compare': {
        if (!this.#rules.sameDiffs) return 'ok'
        const results: string[] = []
        for (const world of this.#worlds)
          results.push(await world.compare(pick(world.frozen, step.layer) as never))
        mustAgree(
          'the changes from another layer',
          results[0]?.split('\n') ?? [],
          results[1]?.split('\n') ?? [],
        )
        return 'ok'
      }
    }
  }

  async #each<T>(
    choose: (world: World) => T | undefined,
    work: (world: World, chosen: T) => Promise<void>,
  ): Promise<string> {
    for (const world of this.#worlds) {
      const chosen = choose(world)
      if (chosen === undefined) return 'nothing to do'
      await work(world, chosen)
    }
    return 'ok'
  }
}

function take(world: World, step: Step): Promise<string> {
  if (step.do.startsWith('fs.')) return world.takeFs(step as FsStep)
  if (step.do.startsWith('file.')) return world.takeFile(step as FileStep)
  return world.takeRaw(step as RawStep)
}

function nameOf({ driver }: World): string {
  return `${driver.name}, ${driver.engine}`
}

function pick<T>(values: readonly T[], number: number): T | undefined {
  return values[number % values.length]
}

function linesOf({ entries }: Pick<Look, 'entries'>): string[] {
  return entries.map(({ line }) => line)
}

function mustNotDiffer(what: string, difference: string | undefined): void {
  if (difference !== undefined) throw new Error(`${what} differ:\n${difference}`)
}

function mustAgree(what: string, one: readonly string[], other: readonly string[]): void {
  if (one.length === other.length && one.every((line, index) => line === other[index])) return
  const only = (lines: readonly string[], others: readonly string[], side: string) =>
    lines.filter((line) => !others.includes(line)).map((line) => `  ${side} ${line}`)
  const lines = [...only(one, other, 'one side:  '), ...only(other, one, 'other side:')]
  throw new Error(
    `${what} differ:\n${lines.length > 0 ? lines.join('\n') : `  the order:\n${one.join('\n')}\n\n${other.join('\n')}`}`,
  )
}
