import { afterEach, describe, expect, it } from 'vitest'
import type { HostFs } from '#layerstack/fs/host-fs.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { Bench, noOracle } from './union-bench.js'
import { bytes, LAYER_NAMES, sprinkleMarks, OLD_NS } from './union-objects.js'
import { outcome } from './union-operations.js'
import { randomNumbers, randomStep } from './union-random.js'
import { describeTree } from './union-tree.js'

const SEEDS = (process.env['LAYERSTACK_SEEDS'] ?? '1 2 3 4').split(' ').map(Number)
const STEPS = 1500
const STEPS_BETWEEN_LOOKS = 50
const ROUNDS = 3
const reason = noOracle()
if (reason !== undefined) console.warn(`union: no random sequences against the kernel, since ${reason}`)

describe.skipIf(reason !== undefined)('a union and a kernel’s overlay, driven alike', () => {
  const benches: Bench[] = []
  afterEach(() => {
    for (const bench of benches.splice(0)) bench.remove()
  })

  for (const seed of SEEDS) {
    it(`stay alike for ${ROUNDS} x ${STEPS} steps, each going on where the other stopped (seed ${seed})`, () => {
      const [a, b] = [makeBench(seed), makeBench(seed)]
      benches.push(a, b)
      const random = randomNumbers(seed * 1000)
      for (let round = 0; round < ROUNDS; round += 1) {
        const [ours, theirs] = round % 2 === 0 ? [a, b] : [b, a]
        drive(ours, theirs, random, `seed ${seed}, round ${round}`)
        expectInterchange(ours, theirs)
      }
    })
  }
})

function drive(ours: Bench, theirs: Bench, random: () => number, what: string): void {
  const union = ours.union()
  const kernel = theirs.mount()
  const trail: string[] = []
  for (let number = 0; number < STEPS; number += 1) {
    const step = randomStep(random)
    const expected = alike(outcome(() => step.run(kernel)))
    const actual = alike(outcome(() => step.run(union)))
    trail.push(`${step.text}: ${expected}`)
    const last = () => `${what}, step ${number}:\n${trail.slice(-12).join('\n')}`
    if (actual !== expected) expect(actual, last()).toBe(expected)
    if (number % STEPS_BETWEEN_LOOKS === 0) expect(treeOf(union), last()).toEqual(treeOf(kernel))
  }
  expect(treeOf(union), what).toEqual(treeOf(kernel))
  union.close()
  theirs.unmount()
  expect(ours.marks(bytes('')), what).toEqual(theirs.marks(bytes('')))
}

/** Of two paths that lead nowhere, either may be complained of first. */
function alike(result: string): string {
  return result === 'ENOTDIR' ? 'ENOENT' : result
}

/** What one wrote, the other shows. */
function expectInterchange(ours: Bench, theirs: Bench): void {
  const byUs = ours.union()
  const byKernel = ours.mount()
  expect(treeOf(byKernel)).toEqual(treeOf(byUs))
  byUs.close()
  ours.unmount()
  const kernel = theirs.mount()
  const written = treeOf(kernel)
  theirs.unmount()
  const union = theirs.union()
  expect(treeOf(union)).toEqual(written)
  union.close()
}

function treeOf(fs: RawFs): string[] {
  return describeTree(fs, { nowNs: 1_500_000_000_000_000_000n, directoryTimes: false })
}

/** Layers that were themselves made by random steps, with whiteouts and opaque directories. */
function makeBench(seed: number): Bench {
  const bench = new Bench()
  const random = randomNumbers(seed)
  for (const name of LAYER_NAMES) {
    const fs: HostFs = bench.layers[name]
    for (let number = 0; number < 120; number += 1) {
      const step = randomStep(random)
      outcome(() => step.run(fs))
    }
    if (name !== 'low') sprinkleMarks(fs, bench.below(name), random)
  }
  for (const fs of Object.values(bench.layers)) fs.utimes(bytes(''), OLD_NS, OLD_NS)
  return bench
}
