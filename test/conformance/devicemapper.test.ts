import { describe, expect, it } from 'vitest'
import { oddities } from '#layerstack/conformance/cases/oddities.js'
import { driverConformance } from '#layerstack/conformance/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { expectSound, noThinPools, SMALL } from '../drivers/thin-place.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'

let roots = 0

/** The pool is checked each time; file systems, which takes longer, now and then. */
async function checkAndRemove(root: string): Promise<void> {
  await expectSound(root, { fileSystems: roots++ % 12 === 0 })
  await removeTree(root)
}

/**
 * Odd layers are odd for what unpacks them, not for a file system: one of both is enough. XFS holds no device numbers as
 * large as they have.
 */
const odd = new Set(oddities.map(({ name }) => name))
const TESTS = {
  xfs: (name: string, run: () => Promise<void>) => (odd.has(name) ? undefined : it(name, run)),
  ext4: it,
} as const

for (const type of ['xfs', 'ext4'] as const) {
  describe(`devicemapper on ${type}`, async () => {
    const report =
      noThinPools === undefined
        ? await driverConformance({
            test: TESTS[type],
            factory: devicemapper,
            engine: 'kernel',
            driverOptions: SMALL[type],
            depth: 40,
            removeRoot: checkAndRemove,
          })
        : undefined
    it('is asked all that it claims, its quota too', unless(noThinPools), () => {
      expect(report?.cases).toContain('lets a writable layer hold no more than its size')
      expect(report?.cases.length).toBeGreaterThan(80)
    })
  })
}
