import { afterAll, beforeAll } from 'vitest'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { btrfsPlace, noBtrfs, type BtrfsPlace } from './btrfs-place.js'
import { driverContract } from './contract.js'
import { opener } from './openers.js'

const usual = process.env['TMPDIR']
let place: BtrfsPlace | undefined

beforeAll(async () => {
  if (noBtrfs !== undefined) return
  place = await btrfsPlace()
  process.env['TMPDIR'] = place.path
})

afterAll(async () => {
  if (usual === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = usual
  await place?.[Symbol.asyncDispose]()
})

driverContract({ name: 'btrfs', open: opener(btrfs, { engine: 'kernel' }), depths: [128], reason: noBtrfs })
