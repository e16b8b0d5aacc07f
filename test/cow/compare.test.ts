import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import { compareTrees, type TreeChange } from '#layerstack/fs/compare.js'
import { MemoryDevice } from './memory-device.js'
import { operation, run } from './operations.js'

const checksum = await loadChecksum()

describe('what two volumes of a store have not in common', () => {
  it('is what a comparison of all of both finds, in the same order', async () => {
    const some = fc.array(operation, { minLength: 1, maxLength: 60 })
    await fc.assert(
      fc.property(some, some, some, (before, above, beside) => {
        const store = CowStore.open(new MemoryDevice(), { checksum })
        const lower = new VolumeFs(store, store.create('lower'))
        for (const each of before) run(lower, each)
        const upper = new VolumeFs(store, store.create('upper', { from: 'lower' }))
        for (const each of above) run(upper, each)
        expect(shown(upper.compare(lower))).toEqual(shown(compareTrees(upper, lower)))
        for (const _ of upper.prepareCompare(lower));
        expect(shown(upper.compare(lower))).toEqual(shown(compareTrees(upper, lower)))
        for (const _ of upper.prepareCompare(lower));
        for (const each of beside) run(lower, each)
        expect(shown(upper.compare(lower))).toEqual(shown(compareTrees(upper, lower)))
        const steps = upper.prepareCompare(lower)
        steps.next()
        for (const each of above) run(lower, each)
        for (const _ of steps);
        expect(shown(upper.compare(lower))).toEqual(shown(compareTrees(upper, lower)))
      }),
      { numRuns: 150 },
    )
  })

  it('is found without reading what they share', () => {
    const device = new MemoryDevice()
    const store = CowStore.open(device, { checksum, cache: 16 * 4096 })
    const lower = new VolumeFs(store, store.create('lower'))
    for (let index = 0; index < 20_000; index++) run(lower, ['mknod', `file${index}`, 1])
    const upper = new VolumeFs(store, store.create('upper', { from: 'lower' }))
    run(upper, ['chmod', 'file777', 1])
    store.commitNow()
    const before = device.reads
    expect(shown(upper.compare(lower))).toEqual(['modify file777'])
    expect(device.reads - before).toBeLessThan(60)
  })
})

function shown(changes: Generator<TreeChange> | undefined): string[] {
  return [...(changes ?? [])].map(({ kind, path }) => `${kind} ${path}`)
}
