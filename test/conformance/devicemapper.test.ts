import { Readable } from 'node:stream'
import { afterAll, describe, expect, it } from 'vitest'
import { driverConformance, oddLayers, refusedLayers } from '#layerstack/conformance/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { DriverFactory } from '#layerstack/drivers/factory.js'
import { expectSound, noThinPools, SMALL, thinPlace } from '../drivers/thin-place.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { SharedRoot } from './shared-root.js'

let roots = 0

/** The pool is checked each time; file systems, which takes longer, now and then. */
async function checkAndRemove(root: string): Promise<void> {
  await expectSound(root, { fileSystems: roots++ % 12 === 0 })
  await removeTree(root)
}

/** Odd layers that a file system cannot hold, and why. */
const REFUSED: Readonly<Record<'xfs' | 'ext4', ReadonlyMap<string, string>>> = {
  xfs: new Map([['numbers in base 256', 'XFS has 18 bits for the minor number of a device, Linux 20']]),
  ext4: new Map(),
}

/** Odd layers of what one file system may hold otherwise than another. */
const HELD = /name|number|time|xattr|device|capabilit|access list|sparse|hole|mode/
const taken = ({ name }: { name: string }): string => `takes ${name}`
const refusals = refusedLayers.map(({ name }) => `refuses ${name}`)
const ODD: ReadonlySet<string> = new Set([...oddLayers.map(taken), ...refusals])
/** How the others are taken apart and merged does not depend on that, and in User-Mode Linux each takes a second. */
const ON_XFS_ALONE: ReadonlySet<string> = new Set([
  ...oddLayers.filter(({ name }) => !HELD.test(name)).map(taken),
  ...refusals,
])

for (const type of ['xfs', 'ext4'] as const) {
  const refused = new Set([...REFUSED[type].keys()].map((name) => `takes ${name}`))
  const isAsked = (name: string): boolean => !refused.has(name) && (type === 'xfs' || !ON_XFS_ALONE.has(name))

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
    it('is asked all that it claims, its quota too', unless(noThinPools), () => {
      expect(report?.cases).toContain('lets a writable layer hold no more than its size')
      expect(report?.cases.length).toBeGreaterThan(80)
      expect(report?.cases).toEqual(expect.arrayContaining([...refused]))
    })

    for (const [name, why] of REFUSED[type]) {
      it(`refuses ${name}: ${why}`, unless(noThinPools), async () => {
        await using place = thinPlace()
        const driver = await place.open(SMALL[type])
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
