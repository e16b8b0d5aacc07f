import { expect } from 'vitest'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import type { AttributeMode } from '#layerstack/fs/spec.js'
import { rawSteps } from '../fuzz/arbitrary.js'
import { sameResult } from '../fuzz/differences.js'
import { takeRaw } from '../fuzz/raw-steps.js'
import { showStep, type RawStep } from '../fuzz/step.js'
import { describeTree } from './tree-lines.js'
import { ATTRIBUTES, OverlayFixture } from './overlay-fixture.js'
import { bytes, LAYER_NAMES, OLD_NS, randomNumbers, sprinkleMarks } from './union-layers.js'

const STEPS_BETWEEN_LOOKS = 50

/** Returns layers made by random steps, which depend only on the seed. */
export function randomFixture(
  seed: number,
  options: { readonly marks: boolean; readonly attributes?: AttributeMode },
): OverlayFixture {
  const fixture = new OverlayFixture(options.attributes ?? ATTRIBUTES)
  const random = randomNumbers(seed)
  for (const [index, name] of LAYER_NAMES.entries()) {
    const fs = fixture.layers[name]
    for (const step of rawSteps(seed * 10 + index, 120)) take(fs, step)
    if (options.marks && name !== 'low') sprinkleMarks(fs, fixture.below(name), random)
    fs.utimes(bytes(''), OLD_NS, OLD_NS)
  }
  return fixture
}

/** Takes the same steps on a union and on the kernel's overlay. Compares the results, and the trees now and then. */
export function driveAlike(union: SyncFs, kernel: SyncFs, steps: readonly RawStep[]): void {
  const trail: string[] = []
  for (const [number, step] of steps.entries()) {
    const [expected, actual] = [take(kernel, step), take(union, step)]
    trail.push(`${showStep(step)}: ${expected}`)
    const last = () => `step ${number}:\n${trail.slice(-12).join('\n')}`
    if (!sameResult(actual, expected, step)) expect(actual, last()).toBe(expected)
    if (number % STEPS_BETWEEN_LOOKS === 0) expect(treeOf(union), last()).toEqual(treeOf(kernel))
  }
  expect(treeOf(union)).toEqual(treeOf(kernel))
}

function take(fs: SyncFs, step: RawStep): string {
  return outcome(() => takeRaw(fs, step, ({ type, mode, uid, gid }) => `${type} ${mode} ${uid}:${gid}`))
}

export function treeOf(fs: SyncFs): string[] {
  return describeTree(fs, { nowNs: 1_500_000_000_000_000_000n, directoryTimes: false })
}

/** `ok` and the result, or the error's code. */
function outcome(run: () => unknown): string {
  try {
    const result = run()
    return result === undefined ? 'ok' : `ok: ${String(result)}`
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    return code
  }
}
