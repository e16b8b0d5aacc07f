import { expect } from 'vitest'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { ATTRIBUTES, Bench } from './union-bench.js'
import type { AttributeKeeping } from '#layerstack/fs/spec.js'
import { bytes, LAYER_NAMES, OLD_NS, sprinkleMarks } from './union-layers.js'
import { randomNumbers, randomStep } from './union-random.js'
import { describeTree } from './tree-lines.js'

const STEPS_BETWEEN_LOOKS = 50

/** Layers that were themselves made by random steps, the same for the same seed. */
export function randomBench(
  seed: number,
  options: { readonly marks: boolean; readonly attributes?: AttributeKeeping },
): Bench {
  const bench = new Bench(options.attributes ?? ATTRIBUTES)
  const random = randomNumbers(seed)
  for (const name of LAYER_NAMES) {
    const fs = bench.layers[name]
    for (let number = 0; number < 120; number += 1) {
      const step = randomStep(random)
      outcome(() => step.run(fs))
    }
    if (options.marks && name !== 'low') sprinkleMarks(fs, bench.below(name), random)
    fs.utimes(bytes(''), OLD_NS, OLD_NS)
  }
  return bench
}

/** Takes the same random steps on a union and on a kernel's overlay, and looks at what they say and what they show. */
export function driveAlike(
  union: RawFs,
  kernel: RawFs,
  options: {
    readonly steps: number
    readonly random: () => number
    readonly what: string
    /** Steps that are not taken. */
    readonly without?: RegExp
  },
): void {
  const trail: string[] = []
  for (let number = 0; number < options.steps; number += 1) {
    const step = randomStep(options.random)
    if (options.without?.test(step.text) === true) continue
    const expected = alike(outcome(() => step.run(kernel)))
    const actual = alike(outcome(() => step.run(union)))
    trail.push(`${step.text}: ${expected}`)
    const last = () => `${options.what}, step ${number}:\n${trail.slice(-12).join('\n')}`
    if (actual !== expected) expect(actual, last()).toBe(expected)
    if (number % STEPS_BETWEEN_LOOKS === 0) expect(treeOf(union), last()).toEqual(treeOf(kernel))
  }
  expect(treeOf(union), options.what).toEqual(treeOf(kernel))
}

export function treeOf(fs: RawFs): string[] {
  return describeTree(fs, { nowNs: 1_500_000_000_000_000_000n, directoryTimes: false })
}

/** `ok` and what came back, or the error's name. */
export function outcome(run: () => unknown): string {
  try {
    const result = run()
    return result === undefined ? 'ok' : `ok: ${String(result)}`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return code
  }
}

/** Of two paths that lead nowhere, either may be complained of first. */
function alike(result: string): string {
  return result === 'ENOTDIR' ? 'ENOENT' : result
}
