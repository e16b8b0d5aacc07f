import { describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { noThinPools } from '../drivers/thin-place.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'

const FILE_SYSTEMS = {
  xfs: { 'dm.fs': 'xfs', 'dm.basesize': '48M', 'dm.mkfsarg': '--unsupported' },
  ext4: { 'dm.fs': 'ext4', 'dm.basesize': '48M' },
}

for (const [name, driverOptions] of Object.entries(FILE_SYSTEMS)) {
  describe(`devicemapper on ${name}`, async () => {
    const report =
      noThinPools === undefined
        ? await driverConformance({
            test: it,
            factory: devicemapper,
            engine: 'kernel',
            driverOptions,
            depth: 40,
            removeRoot: removeTree,
          })
        : undefined
    it('is asked all that it claims, its quota too', unless(noThinPools), () => {
      expect(report?.cases).toContain('lets a writable layer hold no more than its size')
      expect(report?.cases.length).toBeGreaterThan(80)
    })
  })
}
