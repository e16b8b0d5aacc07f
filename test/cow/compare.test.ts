/** @module-tag thorough */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import type { Volume } from '#layerstack/cow/volume.js'
import { compareTrees } from '#layerstack/fs/trees/compare.js'
import type { Comparison } from '#layerstack/fs/sync-fs.js'
import { changeLines } from '../support/change-lines.js'
import { MemoryDevice } from './memory-device.js'
import { operation, run } from './operations.js'

const checksum = await loadChecksum()

describe('comparing two volumes of a store', () => {
  it('yields the changes that a full comparison finds, in the same order', async () => {
    const some = fc.array(operation, { minLength: 1, maxLength: 60 })
    await fc.assert(
      fc.property(some, some, some, (before, above, beside) => {
        const store = CowStore.open(new MemoryDevice(), { checksum })
        const lower = new VolumeFs(store, store.create('lower'))
        for (const each of before) run(lower, each)
        const upper = new VolumeFs(store, store.create('upper', { from: 'lower' }))
        for (const each of above) run(upper, each)
        mustAgree(upper, lower)
        for (const _ of upper.prepareCompare(lower));
        mustAgree(upper, lower)
        for (const _ of upper.prepareCompare(lower));
        for (const each of beside) run(lower, each)
        mustAgree(upper, lower)
        const steps = upper.prepareCompare(lower)
        steps.next()
        for (const each of above) run(lower, each)
        for (const _ of steps);
        mustAgree(upper, lower)
      }),
      { numRuns: 150 },
    )
  })

  it('reads fewer than 60 blocks for one change among 20,000 files', () => {
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

describe('comparing two copies of a device', () => {
  it('yields the changes that a full comparison finds, whichever copy was written', async () => {
    const some = fc.array(operation, { minLength: 1, maxLength: 60 })
    await fc.assert(
      fc.property(some, fc.array(operation, { maxLength: 60 }), some, (before, above, beside) => {
        const { lower, upper } = parted((fs) => {
          for (const each of before) run(fs, each)
        })
        expect(shown(upper.compare(lower))).toEqual([])
        for (const each of above) run(upper, each)
        mustAgree(upper, lower)
        for (const _ of upper.prepareCompare(lower));
        mustAgree(upper, lower)
        for (const _ of upper.prepareCompare(lower));
        // Writes the same addresses in the same generations as the upper copy.
        for (const each of beside) run(lower, each)
        mustAgree(upper, lower)
        upper.sync()
        for (const each of above) run(lower, each)
        lower.sync()
        mustAgree(upper, lower)
      }),
      { numRuns: 150 },
    )
  })

  it('reads less than twice as many blocks for ten times as many files', () => {
    const reads = [2000, 20_000].map((files) => {
      const { lower, upper, devices } = parted((fs) => {
        for (let index = 0; index < files; index++) run(fs, ['mknod', `file${index}`, 1])
      })
      for (let index = 0; index < 10; index++) run(upper, ['chmod', `file${index * 150}`, 1])
      upper.sync()
      const before = devices.map((device) => device.reads)
      const changes = Array.from({ length: 10 }, (_, index) => `modify file${index * 150}`)
      expect(shown(upper.compare(lower))).toEqual(changes.toSorted())
      return devices.reduce((sum, device, at) => sum + device.reads - (before[at] as number), 0)
    })
    console.log(`10 changes: read ${reads[0]} blocks for 2,000 files, ${reads[1]} for 20,000`)
    expect(reads[1]).toBeLessThan(2 * (reads[0] as number))
  })

  it('returns undefined unless the lower device is the origin of the upper one', () => {
    const { lower, upper } = parted((fs) => void run(fs, ['mknod', 'file', 1]))
    expect(lower.compare(upper)).toBeUndefined()
    const other = parted(() => undefined)
    expect(upper.compare(other.lower)).toBeUndefined()
  })
})

/** Returns two copies of a filesystem on separate devices. They begin with the same content. */
function parted(fill: (fs: VolumeFs) => void) {
  const options = { checksum, cache: 16 * 4096 }
  const device = new MemoryDevice()
  const store = CowStore.open(device, options)
  fill(new VolumeFs(store, store.create('layer')))
  store.commitNow()
  const devices = [device.copy(), device.copy()] as const
  const [below, above] = devices.map((each) => CowStore.open(each, options)) as [CowStore, CowStore]
  const origin = { identity: 'lower', generation: below.committed.superblock.generation }
  const lower = new VolumeFs(below, below.volume('layer') as Volume, {
    number: 1,
    lineage: { identity: 'lower' },
  })
  const upper = new VolumeFs(above, above.volume('layer') as Volume, {
    number: 2,
    lineage: { identity: 'upper', origin },
  })
  return { lower, upper, devices }
}

function shown(changes: Comparison | undefined): string[] {
  return changeLines(changes ?? [])
}

/** Checks that `compare` yields the same as a full comparison of both trees. */
function mustAgree(upper: VolumeFs, lower: VolumeFs): void {
  expect(shown(upper.compare(lower))).toEqual(shown(compareTrees(upper, lower)))
}
