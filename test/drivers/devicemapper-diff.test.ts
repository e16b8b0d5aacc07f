/** @module-tag thorough */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CowStore } from '#layerstack/cow/store.js'
import { DeviceMapperLayout } from '#layerstack/drivers/devicemapper/layout.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { shareThinFiles } from '#layerstack/drivers/devicemapper/userspace/thin-files.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { compareTrees } from '#layerstack/fs/trees/compare.js'
import { changeLines } from '../support/change-lines.js'
import { UserspaceFixture, write } from './userspace-fixture.js'

const SMALL = { 'dm.basesize': '256M', 'dm.loopdatasize': '1G', 'dm.loopmetadatasize': '16M' }

let fixture: UserspaceFixture
let layout: DeviceMapperLayout

beforeEach(() => {
  fixture = new UserspaceFixture(devicemapper)
  layout = new DeviceMapperLayout(join(fixture.root, 'devicemapper'))
})

afterEach(async () => {
  try {
    await fixture.mustBeSound()
  } finally {
    await fixture[Symbol.asyncDispose]()
  }
})

describe('changes of devicemapper on the userspace engine', () => {
  it('read nodes in proportion to the changes, not to the size of the layer', async () => {
    const counts: number[] = []
    for (const files of [2000, 20_000]) {
      const [parent, child] = [`parent${files}`, `child${files}`]
      const driver = await open()
      await fill(driver, parent, files)
      await driver.createReadWrite(child, parent)
      const { fs } = await driver.get(child)
      for (let index = 0; index < 10; index++) await fs.chmod(`/dir${index}/file7`, 0o600)
      await driver.put(child)
      await driver.cleanup()
      const again = await open()
      counts.push(
        await nodesReadBy([parent, child], async () => {
          expect(await changesOf(again, child, parent)).toHaveLength(20)
        }),
      )
      forgetOrigin(child)
      await again.cleanup()
      const walking = await open()
      const walked = await nodesReadBy([parent, child], async () => {
        expect(await changesOf(walking, child, parent)).toHaveLength(20)
      })
      expect(walked).toBeGreaterThan(5 * (counts.at(-1) as number))
      await walking.cleanup()
    }
    console.log(`10 changes: ${counts[0]} nodes read in 2,000 files, ${counts[1]} in 20,000`)
    expect(counts[1]).toBeLessThan(2 * (counts[0] as number))
  })

  it('are right if the parent changes after the snapshot, and after both are reopened', async () => {
    const driver = await open()
    await fill(driver, 'parent', 300)
    await driver.create('child', 'parent')
    await write(driver, 'child', '/dir1/file1', Buffer.from('of the child'))
    await expectTrue(driver, 'child', 'parent', ['modify /dir1', 'modify /dir1/file1'])
    await write(driver, 'parent', '/dir2/file2', Buffer.from('of the parent'))
    const both = ['modify /dir1', 'modify /dir1/file1', 'modify /dir2', 'modify /dir2/file2']
    await expectTrue(driver, 'child', 'parent', both)
    for (const [at, id] of ['parent', 'child', 'parent', 'child', 'parent'].entries()) {
      await write(driver, id, `/dir3/new${at % 2}`, Buffer.from(`${id} ${at}`))
      const { fs } = await driver.get(id)
      await fs.rm('/dir4/file4', { force: true })
      await fs.rename('/dir5/file5', `/dir5/moved${at}`).catch(() => undefined)
      await driver.put(id)
      await expectTrue(driver, 'child', 'parent')
    }
    await driver.cleanup()
    const again = await open()
    await expectTrue(again, 'child', 'parent')
    await expectTrue(again, 'parent', 'child')
  })

  it('are right for a layer whose record has no origin', async () => {
    const driver = await open()
    await fill(driver, 'parent', 300)
    await driver.create('child', 'parent')
    await write(driver, 'child', '/dir1/file1', Buffer.from('of the child'))
    forgetOrigin('child')
    await expectTrue(driver, 'child', 'parent', ['modify /dir1', 'modify /dir1/file1'])
  })

  it('are right for an adopted layer, and against a layer with the reused device number of its parent', async () => {
    const driver = await open()
    await fill(driver, 'parent', 300)
    const { deviceId } = layout.layer('parent') ?? { deviceId: -1 }
    await driver.createReadWrite('container', 'parent')
    await write(driver, 'container', '/dir1/file1', Buffer.from('of the container'))
    await driver.adopt?.('container', 'child')
    await expectTrue(driver, 'child', 'parent', ['modify /dir1', 'modify /dir1/file1'])
    await driver.remove('parent')
    await driver.cleanup()
    const metadata = join(fixture.root, 'devicemapper/metadata')
    rmSync(join(metadata, 'transaction-metadata'))
    edit(join(metadata, 'deviceset-metadata'), (set) => ({ ...set, next_device_id: deviceId - 1 }))
    const again = await open()
    await fill(again, 'stranger', 200, 'else')
    expect(layout.layer('stranger')?.deviceId).toBe(deviceId)
    await expectTrue(again, 'child', 'stranger')
  })

  it('are right between a layer and its grandparent, and between siblings', async () => {
    const driver = await open()
    await fill(driver, 'parent', 100)
    for (const [id, parent] of [
      ['child', 'parent'],
      ['sibling', 'parent'],
      ['grandchild', 'child'],
    ] as const) {
      await driver.create(id, parent)
      await write(driver, id, '/dir1/file1', Buffer.from(`of ${id}`))
      await write(driver, id, `/dir2/${id}`, Buffer.from(id))
    }
    for (const [id, other] of [
      ['grandchild', 'parent'],
      ['sibling', 'child'],
      ['child', 'sibling'],
      ['grandchild', 'child'],
    ] as const) {
      await expectTrue(driver, id, other)
    }
  })
})

async function open(): Promise<Driver> {
  return fixture.open({ driverOptions: SMALL })
}

async function fill(driver: Driver, id: string, files: number, content = 'x'): Promise<void> {
  await driver.create(id)
  const { fs } = await driver.get(id)
  for (let index = 0; index < 10; index++) await fs.mkdir(`/dir${index}`)
  for (let index = 0; index < files; index++) {
    await fs.writeFile(`/dir${index % 10}/file${Math.floor(index / 10)}`, content)
  }
  await driver.put(id)
}

async function changesOf(driver: Driver, id: string, parent: string): Promise<string[]> {
  const changes: string[] = []
  for await (const { kind, path } of driver.changes(id, parent)) changes.push(`${kind} ${path}`)
  return changes
}

/** Expects the driver to list the same changes as a comparison of both whole trees. */
async function expectTrue(
  driver: Driver,
  id: string,
  parent: string,
  known?: readonly string[],
): Promise<void> {
  const told = await changesOf(driver, id, parent)
  const [upper, lower] = [await driver.get(id), await driver.get(parent)]
  const found = changeLines(compareTrees(upper.fs.syncFs, lower.fs.syncFs)).map((line) =>
    line.replace(' ', ' /'),
  )
  await driver.put(id)
  await driver.put(parent)
  expect(told).toEqual(found)
  if (known !== undefined) expect(told).toEqual(known)
}

/** Rewrites the record of a layer as versions without origins and checksums wrote it. */
function forgetOrigin(id: string): void {
  edit(join(fixture.root, 'devicemapper/metadata', id), (fields) =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => !/^(origin|checksum)/.test(name))),
  )
  expect(layout.layer(id)).toMatchObject({ origin: undefined })
}

function edit(path: string, change: (fields: Record<string, unknown>) => object): void {
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))))
}

/** Returns the number of nodes that `work` reads from the devices of these layers. */
async function nodesReadBy(ids: readonly string[], work: () => Promise<void>): Promise<number> {
  // The driver has these files open, so its settings apply instead of these.
  const { files, release } = shareThinFiles({
    layout,
    lockFile: '',
    reserveFile: '',
    geometry: { blockSize: 0, dataBlocks: 0, metadataBlocks: 0 },
    readOnly: false,
    cache: 1,
  })
  let read = 0
  const records = ids.map((id) => layout.layer(id) as NonNullable<ReturnType<typeof layout.layer>>)
  for (const record of records) {
    const { nodes }: CowStore = await files.device(record)
    const reading = nodes.read.bind(nodes)
    nodes.read = (pointer) => {
      read++
      return reading(pointer)
    }
  }
  await work()
  for (const { deviceId } of records) await files.closeDevice(deviceId)
  await release()
  return read
}
