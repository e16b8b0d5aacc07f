import { describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { contenders } from './contenders.js'

for (const { name, reason, ...options } of contenders) {
  describe(name, async () => {
    const report =
      reason === undefined
        ? await driverConformance({ test: it, removeRoot: removeTree, ...options })
        : undefined
    it('registers more than 80 conformance cases, and skips none without a reason', unless(reason), () => {
      expect(report?.cases.length).toBeGreaterThan(80)
      expect(report?.skipped.map((skipped) => skipped.reason)).not.toContain('')
    })
  })
}
