import { withoutKoffi } from '../support/no-koffi.js'
import { afterEach, describe, expect, it } from 'vitest'
import { unless } from '../support/unless.js'
import { Bench, noOracle } from './union-bench.js'
import { driveAlike, randomBench, treeOf } from './union-drive.js'
import { bytes } from './union-layers.js'
import { randomNumbers } from './union-random.js'

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
      const without = /^(fifo|device|setxattr|removexattr)/
      const options = { steps: STEPS, what: `seed ${seed}`, without }
      driveAlike(union, kernel, { ...options, random: randomNumbers(seed * 1000) })
      expect(treeOf(ours.union())).toEqual(treeOf(kernel))
    })
  }

  it('hides by files what it cannot hide by devices', () => {
    const bench = randomBench(1, PLAIN)
    benches.push(bench)
    const { low, upper } = bench.layers
    const kept = new Set(upper.readdir(bytes('')).map(({ name }) => name))
    const gone = low.readdir(bytes('')).filter(({ name, type }) => type !== 'directory' && !kept.has(name))
    expect(gone.length).toBeGreaterThan(0)
    const union = bench.union()
    for (const { name } of gone) union.unlink(name)
    const names = upper.readdir(bytes('')).map(({ name }) => name)
    for (const { name } of gone) expect(names).toContain(`.wh.${name}`)
    for (const { name } of gone) union.mkdir(name, 0o755)
    expect(upper.readdir(gone[0]?.name ?? bytes('')).map(({ name }) => name)).toEqual(['.wh..wh..opq'])
  })
})
