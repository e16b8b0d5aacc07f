/**
 * @module-tag every-identity
 * @module-tag thorough
 */
import { afterAll, describe, expect, it } from 'vitest'
import { driverConformance } from '#layerstack/conformance/index.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { btrfsFixture, expectSoundFile, noBtrfs } from '../drivers/btrfs-fixture.js'
import { removeTree } from '../support/mounts.js'
import { noCalls, unless } from '../support/needs.js'
import { run } from '../support/program.js'

/** Uses a directory of this user on a btrfs that root mounted (`test/run.mjs`). */
describe('btrfs as an ordinary user', async () => {
  const directory = process.env['LAYERSTACK_TEST_BTRFS']
  const reason =
    noCalls ?? (directory === undefined ? 'LAYERSTACK_TEST_BTRFS names no directory on btrfs' : undefined)
  const report =
    reason === undefined && directory !== undefined
      ? await driverConformance({
          test: it,
          factory: btrfs,
          engine: 'kernel',
          directory,
          depth: 40,
          oddLayers: false,
          removeRoot: removeTree,
        })
      : undefined
  it('registers more than 80 conformance cases', unless(reason), () =>
    expect(report?.cases.length).toBeGreaterThan(80),
  )
})

describe('btrfs with the loopback option', async () => {
  const report = noBtrfs === undefined ? await registeredOnLoopback() : undefined
  it('registers more than 80 conformance cases', unless(noBtrfs), () =>
    expect(report?.cases.length).toBeGreaterThan(80),
  )
})

describe('btrfs on the kernel engine', async () => {
  const report = noBtrfs === undefined ? await registered() : undefined
  it('registers more than 80 conformance cases, the quota case among them', unless(noBtrfs), () => {
    expect(report?.cases).toContain('limits a writable layer to its size')
    expect(report?.cases.length).toBeGreaterThan(80)
  })
})

function registeredOnLoopback() {
  return driverConformance({
    test: it,
    factory: btrfs,
    driverOptions: { loopback: { size: '256M' } },
    depth: 16,
    oddLayers: false,
    removeRoot: async (root) => {
      await expectSoundFile(root)
      await removeTree(root)
    },
  })
}

async function registered() {
  const fixture = await btrfsFixture()
  afterAll(() => fixture[Symbol.asyncDispose]())
  await run('btrfs', ['quota', 'enable', fixture.path])
  return driverConformance({
    test: it,
    factory: btrfs,
    engine: 'kernel',
    directory: fixture.path,
    depth: 128,
    removeRoot: removeTree,
  })
}
