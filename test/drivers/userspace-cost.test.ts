/** @module-tag thorough */
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { BLOCK, type Address } from '#layerstack/cow/block.js'
import { contentOf } from '#layerstack/cow/extent.js'
import { openSharedStore } from '#layerstack/cow/shared-store.js'
import type { CowStore } from '#layerstack/cow/store.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { DeviceMapperLayout, type DeviceRecord } from '#layerstack/drivers/devicemapper/layout.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { shareThinFiles, type ThinFiles } from '#layerstack/drivers/devicemapper/userspace/thin-files.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { ThinPool } from '#layerstack/thin/thin-pool.js'
import { UserspaceFixture } from './userspace-fixture.js'

const MIB = 1 << 20
const GIB = 1 << 30
const POOL_BLOCK = 64 << 10
const LARGE = { 'dm.basesize': '2G', 'dm.loopdatasize': '3G', 'dm.loopmetadatasize': '16M' }
/** The most blocks that trees, reference counts and superblocks may take. */
const MOST_METADATA = { btrfs: 20, devicemapper: 4 }

let fixture: UserspaceFixture

afterEach(() => fixture[Symbol.asyncDispose]())

describe('4 KiB written into a file of 1 GiB', () => {
  it('allocate one data block on btrfs', async () => {
    fixture = new UserspaceFixture(btrfs)
    const driver = await withLargeFile({})
    const { store, close } = await openSharedStore(join(fixture.root, 'btrfs/layers.cow'))
    const [before, used] = [contentIn(store, 'container'), store.space.state.used]
    expect(before.size).toBe(GIB / BLOCK)
    await writeInside(driver)
    const after = contentIn(store, 'container')
    expect([...after].filter((address) => !before.has(address))).toHaveLength(1)
    expect(after.size).toBe(before.size)
    const taken = store.space.state.used - used
    console.log(`btrfs: 1 data block of 4 KiB, ${taken - 1} metadata blocks`)
    expect(taken - 1).toBeLessThanOrEqual(MOST_METADATA.btrfs)
    await close()
  })

  it('allocate one data block in a devicemapper pool', async () => {
    fixture = new UserspaceFixture(devicemapper)
    const driver = await withLargeFile(LARGE)
    const { files, release } = filesOf(fixture.root)
    const pool = await files.pool()
    const record = new DeviceMapperLayout(join(fixture.root, 'devicemapper')).layer(
      'container',
    ) as DeviceRecord
    const look = async () => {
      const content = await onDevice(files, record, (store) => contentIn(store, 'layer'))
      return { content, blocks: blocksOf(pool, record), used: pool.metadata.status.data.used }
    }
    const before = await look()
    expect(before.content.size).toBe(GIB / BLOCK)
    await writeInside(driver)
    const after = await look()
    const written = [...after.content].filter((address) => !before.content.has(address))
    expect(written).toHaveLength(1)
    const provisioned = [...after.blocks].filter(([at, block]) => before.blocks.get(at) !== block)
    expect(after.used - before.used).toBe(provisioned.length)
    // A pool block may hold content and trees. Only the block with the written content counts as data.
    const forData = provisioned.filter(
      ([at]) => at === Math.floor(((written[0] as Address) * BLOCK) / POOL_BLOCK),
    )
    console.log(
      `devicemapper: ${forData.length} data block of 64 KiB, ${provisioned.length - forData.length} metadata blocks`,
    )
    expect(forData).toHaveLength(1)
    expect(provisioned.length - forData.length).toBeLessThanOrEqual(MOST_METADATA.devicemapper)
    await release()
  })
})

/** Creates a layer with a file of 1 GiB, and a container on it. */
async function withLargeFile(driverOptions: Record<string, unknown>): Promise<Driver> {
  const driver = await fixture.open({ driverOptions })
  await driver.create('base')
  const { fs } = await driver.get('base')
  await using file = await fs.open('/large', 'w')
  const piece = Buffer.alloc(MIB, 1)
  for (let at = 0; at < GIB; at += MIB) await file.write(piece, 0, MIB, at)
  await file.close()
  await driver.put('base')
  await driver.createReadWrite('container', 'base')
  return driver
}

async function writeInside(driver: Driver): Promise<void> {
  const { fs } = await driver.get('container')
  await using file = await fs.open('/large', 'r+')
  await file.write(Buffer.alloc(BLOCK, 2), 0, BLOCK, GIB / 2)
  await file.close()
  await driver.put('container')
}

/** The blocks that hold the content of a volume's files. */
function contentIn(store: CowStore, name: string): Set<Address> {
  const blocks = new Set<Address>()
  for (const [key, value] of store.volume(name)?.tree.range('' as ByteString, '\xff' as ByteString) ?? []) {
    const { address, length } = contentOf(key, value) ?? { address: 0, length: 0 }
    for (let at = address; at < address + length; at++) blocks.add(at)
  }
  return blocks
}

/** Maps each provisioned block of a thin device to its pool block. */
function blocksOf(pool: ThinPool, { deviceId, size }: DeviceRecord): Map<number, number> {
  const blocks = new Map<number, number>()
  pool.consistently((metadata) => {
    for (let at = 0; at < size / POOL_BLOCK; at++) {
      const mapping = metadata.mapping(deviceId, at)
      if (mapping !== undefined) blocks.set(at, mapping.block)
    }
  })
  return blocks
}

async function onDevice<T>(files: ThinFiles, record: DeviceRecord, work: (store: CowStore) => T): Promise<T> {
  const store = await files.device(record)
  try {
    return work(store)
  } finally {
    await files.closeDevice(record.deviceId)
  }
}

/** Returns the files that the driver has open. Its settings apply instead of these. */
function filesOf(root: string) {
  return shareThinFiles({
    layout: new DeviceMapperLayout(join(root, 'devicemapper')),
    lockFile: '',
    reserveFile: '',
    geometry: { blockSize: 0, dataBlocks: 0, metadataBlocks: 0 },
    readOnly: false,
    cache: 1,
  })
}
