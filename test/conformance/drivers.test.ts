import { describe, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { contenders } from './contenders.js'

for (const { name, reason, ...options } of contenders) {
  describe(name, async () => {
    if (reason !== undefined) it('keeps the contract of drivers', unless(reason), () => {})
    else await driverConformance({ test: it, removeRoot: removeTree, ...options })
  })
}
