/** @module-tag every-identity */
import { describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { isCaller, isThorough } from '../support/tier.js'
import { contenders, type Contender } from './contenders.js'

/** A layer's tree does not depend on who applies it. Attributes kept aside are a contender of their own. */
const oddLayers = isThorough && isCaller

/** `npm test` runs each driver and engine once, on chains that are less deep. */
function quick({ depth = Infinity, driverOptions = {} }: Contender): Pick<Contender, 'reason' | 'depth'> {
  if (isThorough) return {}
  if ('attributes' in driverOptions) return { reason: 'it takes long; npm run test:all runs it' }
  return { depth: Math.min(depth, 40) }
}

for (const contender of contenders) {
  const { name, reason, ...options } = { ...contender, ...quick(contender) }
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
