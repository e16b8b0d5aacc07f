import { describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { expectSound, noThinPools, SMALL } from '../drivers/thin-place.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'

let roots = 0

/** The pool is checked each time; file systems, which takes longer, now and then. */
async function checkAndRemove(root: string): Promise<void> {
  await expectSound(root, { fileSystems: roots++ % 10 === 0 })
  await removeTree(root)
}

for (const [name, driverOptions] of Object.entries(SMALL)) {
  describe(`devicemapper on ${name}`, async () => {
    const report =
      noThinPools === undefined
        ? await driverConformance({
            test: it,
            factory: devicemapper,
            engine: 'kernel',
            driverOptions,
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
