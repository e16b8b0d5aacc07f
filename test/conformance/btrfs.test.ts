import { afterAll, describe, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { btrfsPlace, noBtrfs } from '../drivers/btrfs-place.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'

describe('btrfs', async () => {
  if (noBtrfs !== undefined) {
    it('keeps the contract of drivers', unless(noBtrfs), () => {})
    return
  }
  const place = await btrfsPlace()
  afterAll(() => place[Symbol.asyncDispose]())
  await run('btrfs', ['quota', 'enable', place.path])
  await driverConformance({
    test: it,
    factory: btrfs,
    engine: 'kernel',
    directory: place.path,
    depth: 128,
    removeRoot: removeTree,
  })
})
