/** @module-tag every-identity */
import { describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { isCaller, isThorough } from '../support/tier.js'
import { contenders } from './contenders.js'

/** A layer's tree does not depend on who applies it. Attributes kept aside are a contender of their own. */
const oddLayers = isThorough && isCaller

for (const { name, reason, ...options } of contenders) {
  describe(name, async () => {
    const report =
      reason === undefined
        ? await driverConformance({ test: it, removeRoot: removeTree, oddLayers, ...options })
        : undefined
    it('registers more than 80 conformance cases, and skips none without a reason', unless(reason), () => {
      expect(report?.cases.length).toBeGreaterThan(80)
      expect(report?.skipped.map((skipped) => skipped.reason)).not.toContain('')
    })
  })
}
