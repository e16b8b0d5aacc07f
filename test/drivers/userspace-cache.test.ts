/** @module-tag thorough */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BLOCK } from '#layerstack/cow/block.js'
import { openSharedStore } from '#layerstack/cow/shared-store.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { DeviceMapperLayout } from '#layerstack/drivers/devicemapper/layout.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { deviceMapperOptions } from '#layerstack/drivers/devicemapper/options.js'
import { shareThinFiles } from '#layerstack/drivers/devicemapper/userspace/thin-files.js'
import { UserspaceFixture } from './userspace-fixture.js'

const FILES = 3000
/** Minimum size of a node in memory, in bytes. */
const NODE = 2 * BLOCK
const LAYERS = ['one', 'two', 'three', 'four']
const SMALL = { 'dm.basesize': '256M', 'dm.loopdatasize': '1G', 'dm.loopmetadatasize': '16M' }

let fixture: UserspaceFixture

afterEach(async () => {
  try {
    await fixture.mustBeSound()
  } finally {
    await fixture[Symbol.asyncDispose]()
  }
})

describe('cache of devicemapper on the userspace engine', () => {
  beforeEach(() => {
    fixture = new UserspaceFixture(devicemapper)
  })

  it.each([
    [undefined, 500, Infinity],
    [1 << 20, 1, (1 << 20) / NODE],
    [1, 1, LAYERS.length * 16],
  ])('set to %s bytes, keeps %s to %s nodes of all open layers in memory', async (cache, least, most) => {
    const driver = await fixture.open({ driverOptions: { ...SMALL, ...(cache !== undefined && { cache }) } })
    await fill(driver)
    expect(await readAll(driver)).toBe(LAYERS.length * FILES)
    const kept = await keptOf(fixture.root)
    expect(kept).toBeGreaterThanOrEqual(least)
    expect(kept).toBeLessThanOrEqual(most)
    expect(await driver.check?.()).toEqual([])
  })

  it('rejects a value that is not a positive number of bytes', () => {
    for (const cache of [0, -1, '1M', true, Number.NaN]) {
      expect(() => deviceMapperOptions({ cache })).toThrow(TypeError)
    }
  })
})

describe('cache of btrfs on the userspace engine', () => {
  it('limits the nodes kept in memory', async () => {
    fixture = new UserspaceFixture(btrfs)
    mkdirSync(join(fixture.root, 'btrfs'))
    for (const [cache, least, most] of [
      [32 << 20, 500, (32 << 20) / NODE],
      [1 << 20, 1, (1 << 20) / NODE],
    ] as const) {
      const driver = await fixture.open({ driverOptions: { cache } })
      if ((await driver.list()).length === 0) await fill(driver)
      expect(await readAll(driver)).toBe(LAYERS.length * FILES)
      const shared = await openSharedStore(join(fixture.root, 'btrfs/layers.cow'))
      expect(shared.store.nodes.kept).toBeGreaterThanOrEqual(least)
      expect(shared.store.nodes.kept).toBeLessThanOrEqual(most)
      await shared.close()
      await driver.cleanup()
    }
  })
})

/** Creates layers that share no content. */
async function fill(driver: Driver): Promise<void> {
  for (const id of LAYERS) {
    await driver.create(id)
    const { fs } = await driver.get(id)
    for (let index = 0; index < FILES; index++) await fs.writeFile(`/file${index}`, id)
    await driver.put(id)
  }
}

/** Reads every file and leaves the layers open. Returns the number of intact files. */
async function readAll(driver: Driver): Promise<number> {
  let whole = 0
  for (const id of LAYERS) {
    const { fs } = await driver.get(id)
    for (const name of await fs.readdir('/')) if ((await fs.readFile(`/${name}`, 'utf8')) === id) whole++
  }
  return whole
}

/** Returns the number of nodes that the open file systems of all layers keep in memory. */
async function keptOf(root: string): Promise<number> {
  const layout = new DeviceMapperLayout(join(root, 'devicemapper'))
  const nothing = { blockSize: 0, dataBlocks: 0, metadataBlocks: 0 }
  // The driver has these files open, so its settings apply instead of these.
  const { files, release } = shareThinFiles({
    layout,
    lockFile: '',
    reserveFile: '',
    geometry: nothing,
    readOnly: false,
    cache: 1,
  })
  let kept = 0
  for (const id of LAYERS) {
    const record = layout.layer(id)
    if (record === undefined) continue
    kept += (await files.device(record)).nodes.kept
    await files.closeDevice(record.deviceId)
  }
  await release()
  return kept
}
