/** @module-tag device-mapper */
import { Readable } from 'node:stream'
import { afterAll, describe, expect, it } from 'vitest'
import { driverConformance, oddLayers, refusedLayers } from '#layerstack/conformance/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { DriverFactory } from '#layerstack/drivers/factory.js'
import { expectSound, noThinPools, SMALL, thinFixture } from '../drivers/thin-fixture.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { SharedRoot } from './shared-root.js'

let roots = 0

/** Checks the pool every time, and the file systems, which takes longer, every twelfth time. */
async function checkAndRemove(root: string): Promise<void> {
  await expectSound(root, { fileSystems: roots++ % 12 === 0 })
  await removeTree(root)
}

/** Odd layers that a file system cannot store, each with the reason. */
const REFUSED: Readonly<Record<'xfs' | 'ext4', ReadonlyMap<string, string>>> = {
  xfs: new Map([['numbers in base 256', 'XFS stores 18 bits of a minor device number, Linux has 20']]),
  ext4: new Map(),
}

/** Names of odd layers that file systems may store differently. */
const HELD = /name|number|time|xattr|device|capabilit|ACL|sparse|hole|mode/
const taken = ({ name }: { name: string }): string => `unpacks ${name}`
const refusals = refusedLayers.map(({ name }) => `refuses ${name}`)
const ODD: ReadonlySet<string> = new Set([...oddLayers.map(taken), ...refusals])
/**
 * Odd layers that other drivers run instead. On XFS, those that do not depend on the file system. On ext4, all of them:
 * the other drivers' tests are on ext4. Each takes seconds in User-Mode Linux.
 */
const ELSEWHERE: Readonly<Record<'xfs' | 'ext4', ReadonlySet<string>>> = {
  xfs: new Set([...oddLayers.filter(({ name }) => !HELD.test(name)).map(taken), ...refusals]),
  ext4: ODD,
}

for (const type of ['xfs', 'ext4'] as const) {
  const refused = new Set([...REFUSED[type].keys()].map((name) => `unpacks ${name}`))
  const isAsked = (name: string): boolean => !refused.has(name) && !ELSEWHERE[type].has(name)

  describe(`devicemapper on ${type}`, async () => {
    const shared = new SharedRoot()
    let factory: Pick<DriverFactory, 'open'> = devicemapper
    afterAll(() => shared.close())

    const report =
      noThinPools === undefined
        ? await driverConformance({
            test: (name, run) =>
              isAsked(name) &&
              it(name, () => {
                factory = ODD.has(name) ? shared : devicemapper
                return run()
              }),
            factory: { open: (options) => factory.open(options) },
            engine: 'kernel',
            driverOptions: SMALL[type],
            depth: 40,
            removeRoot: checkAndRemove,
          })
        : undefined
    it('registers more than 80 conformance cases, the quota case among them', unless(noThinPools), () => {
      expect(report?.cases).toContain('limits a writable layer to its size')
      expect(report?.cases.length).toBeGreaterThan(80)
      expect(report?.cases).toEqual(expect.arrayContaining([...refused]))
    })

    for (const [name, why] of REFUSED[type]) {
      it(`refuses ${name}: ${why}`, unless(noThinPools), async () => {
        await using fixture = thinFixture()
        const driver = await fixture.open(SMALL[type])
        const tar = oddLayers.find((odd) => odd.name === name)?.layers[0] as Buffer
        await driver.create('odd')
        await expect(driver.applyDiff('odd', undefined, Readable.from([tar]))).rejects.toMatchObject({
          code: 'LAYER_INVALID',
          errno: 'EINVAL',
          syscall: expect.stringContaining('mknod'),
        })
        await driver.remove('odd')
        expect(await driver.list()).toEqual([])
      })
    }
  })
}
