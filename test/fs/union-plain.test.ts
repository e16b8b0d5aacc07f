import { withoutKoffi } from '../support/no-koffi.js'
import { afterEach, describe, expect, it } from 'vitest'
import { rawSteps } from '../fuzz/arbitrary.js'
import { unless } from '../support/unless.js'
import { Bench, noOracle } from './union-bench.js'
import { driveAlike, randomBench, treeOf } from './union-drive.js'
import { bytes } from './union-layers.js'

const SEEDS = [11, 12, 13]
const STEPS = 1500
const PLAIN = { marks: false, attributes: 'native' } as const
const reason = noOracle()

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove()
})

describe(`a union ${withoutKoffi}`, () => {
  for (const seed of SEEDS) {
    it(`does as the kernel’s overlay, without devices and xattrs (seed ${seed})`, unless(reason), () => {
      const [ours, theirs] = [randomBench(seed, PLAIN), randomBench(seed, PLAIN)]
      benches.push(ours, theirs)
      const union = ours.union()
      const kernel = theirs.mount()
      const steps = rawSteps(seed * 1000, STEPS).filter((step) => !/^(mknod|\w+xattr)$/.test(step.do))
      driveAlike(union, kernel, steps)
      expect(treeOf(ours.union())).toEqual(treeOf(kernel))
    })
  }

  it('hides by files what it cannot hide by devices', () => {
    const bench = randomBench(1, PLAIN)
    benches.push(bench)
    const { low, upper } = bench.layers
    const gone = [bytes('x'), bytes('y')]
    for (const name of gone) low.symlink(bytes('nowhere'), name)
    const union = bench.union()
    for (const name of gone) union.unlink(name)
    const names = upper.readdir(bytes('')).map(({ name }) => name)
    for (const name of gone) expect(names).toContain(`.wh.${name}`)
    for (const name of gone) union.mkdir(name, 0o755)
    expect(upper.readdir(bytes('x')).map(({ name }) => name)).toEqual(['.wh..wh..opq'])
  })
})
