/** @module-tag every-identity */
import { withoutKoffi } from '../support/no-koffi.js'
import { afterEach, describe, expect, it } from 'vitest'
import { rawSteps } from '../fuzz/arbitrary.js'
import { unless } from '../support/unless.js'
import { OverlayFixture, noOracle } from './overlay-fixture.js'
import { driveAlike, randomFixture, treeOf } from './union-drive.js'
import { bytes } from './union-layers.js'

const SEEDS = [11, 12, 13]
const STEPS = 1500
const PLAIN = { marks: false, attributes: 'native' } as const
const reason = noOracle()

const fixtures: OverlayFixture[] = []
afterEach(() => {
  for (const fixture of fixtures.splice(0)) fixture.remove()
})

describe(`a union ${withoutKoffi}`, () => {
  for (const seed of SEEDS) {
    it(`matches the kernel’s overlay, without devices and xattrs (seed ${seed})`, unless(reason), () => {
      const [ours, theirs] = [randomFixture(seed, PLAIN), randomFixture(seed, PLAIN)]
      fixtures.push(ours, theirs)
      const union = ours.union()
      const kernel = theirs.mount()
      const steps = rawSteps(seed * 1000, STEPS).filter((step) => !/^(mknod|\w+xattr)$/.test(step.do))
      driveAlike(union, kernel, steps)
      expect(treeOf(ours.union())).toEqual(treeOf(kernel))
    })
  }

  it('marks whiteouts and opaque directories with files', () => {
    const fixture = randomFixture(1, PLAIN)
    fixtures.push(fixture)
    const { low, upper } = fixture.layers
    const gone = [bytes('x'), bytes('y')]
    for (const name of gone) low.symlink(bytes('nowhere'), name)
    const union = fixture.union()
    for (const name of gone) union.unlink(name)
    const names = upper.readdir(bytes('')).map(({ name }) => name)
    for (const name of gone) expect(names).toContain(`.wh.${name}`)
    for (const name of gone) union.mkdir(name, 0o755)
    expect(upper.readdir(bytes('x')).map(({ name }) => name)).toEqual(['.wh..wh..opq'])
  })
})
