import { afterAll, describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { btrfsPlace, expectSoundFile, noBtrfs } from '../drivers/btrfs-place.js'
import { removeTree } from '../support/mounts.js'
import { noCalls, unless } from '../support/needs.js'
import { run } from '../support/program.js'

/** On a btrfs that this user owns and did not mount (`test/run.mjs`). */
describe('btrfs of an ordinary user', async () => {
  const directory = process.env['LAYERSTACK_TEST_BTRFS']
  const reason =
    noCalls ?? (directory === undefined ? 'no directory on btrfs is given to an ordinary user' : undefined)
  const report =
    reason === undefined && directory !== undefined
      ? await driverConformance({
          test: it,
          factory: btrfs,
          engine: 'kernel',
          directory,
          depth: 40,
          removeRoot: removeTree,
        })
      : undefined
  it('is asked all that it claims', unless(reason), () => expect(report?.cases.length).toBeGreaterThan(80))
})

describe('btrfs in a file of the root', async () => {
  if (noBtrfs === undefined) {
    await driverConformance({
      test: it,
      factory: btrfs,
      driverOptions: { loopback: { size: '256M' } },
      depth: 16,
      removeRoot: async (root) => {
        await expectSoundFile(root)
        await removeTree(root)
      },
    })
  }
  it('can be asked', unless(noBtrfs), () => {})
})

describe('btrfs', async () => {
  const report = noBtrfs === undefined ? await asked() : undefined
  it('is asked all that it claims, its quota too', unless(noBtrfs), () => {
    expect(report?.cases).toContain('lets a writable layer hold no more than its size')
    expect(report?.cases.length).toBeGreaterThan(80)
  })
})

async function asked() {
  const place = await btrfsPlace()
  afterAll(() => place[Symbol.asyncDispose]())
  await run('btrfs', ['quota', 'enable', place.path])
  return driverConformance({
    test: it,
    factory: btrfs,
    engine: 'kernel',
    directory: place.path,
    depth: 128,
    removeRoot: removeTree,
  })
}
