import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { rowOf, UserspacePlace, write } from './userspace-place.js'

const BLOCK = 64 << 10
const SMALL = { 'dm.basesize': '256M', 'dm.loopdatasize': '512M', 'dm.loopmetadatasize': '16M' }
const noTools = notInstalled('thin_check', 'thin_ls')

let place: UserspacePlace
let root: string
let metadata: string

beforeEach(() => {
  place = new UserspacePlace(devicemapper)
  ;({ root } = place)
  metadata = join(root, 'devicemapper/devicemapper/metadata')
})

afterEach(() => place[Symbol.asyncDispose]())

describe('devicemapper in userspace', () => {
  it('has after all that layers do a pool that thin_check takes for whole', unless(noTools), async () => {
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/large', Buffer.alloc(9 << 20, 1))
    for (let index = 0; index < 6; index++) {
      await driver.createReadWrite(`container${index}`, index < 3 ? 'base' : `container${index - 3}`)
      await write(driver, `container${index}`, '/own', Buffer.alloc(100_000 * index, 2))
    }
    await driver.adopt?.('container5', 'layer')
    for (const id of ['container1', 'container4', 'base']) await driver.remove(id)
    await driver.cleanup()
    await run('thin_check', [metadata])
    // The base and four layers.
    expect(await devicesOf()).toHaveLength(5)
    const { fs } = await (await open()).get('layer')
    expect((await fs.readFile('/large')).equals(Buffer.alloc(9 << 20, 1))).toBe(true)
  })

  it('takes of a large file no more than a few blocks of the pool when a page of it is written', async () => {
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/large', Buffer.alloc(64 << 20, 1))
    await driver.createReadWrite('container', 'base')
    const before = await spaceUsed(driver)
    const { fs } = await driver.get('container')
    await using file = await fs.open('/large', 'r+')
    await file.write(Buffer.alloc(4096, 2), 0, 4096, 20 << 20)
    await file.close()
    await driver.put('container')
    const taken = (await spaceUsed(driver)) - before
    expect(taken).toBeGreaterThanOrEqual(BLOCK)
    expect(taken).toBeLessThanOrEqual(5 * BLOCK)
  })

  it('takes no blocks for a new layer, and gives back those of one that is removed', async () => {
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/large', Buffer.alloc(32 << 20, 1))
    const before = await spaceUsed(driver)
    for (let index = 0; index < 10; index++) await driver.create(`layer${index}`, 'base')
    expect(await spaceUsed(driver)).toBe(before)
    await write(driver, 'layer3', '/more', Buffer.alloc(32 << 20, 3))
    expect((await spaceUsed(driver)) - before).toBeGreaterThanOrEqual(32 << 20)
    await driver.remove('layer3')
    expect(await spaceUsed(driver)).toBe(before)
  })

  it('says NO_SPACE when the pool is full, harms nobody, and goes on when it has grown', async () => {
    const small = { ...SMALL, 'dm.loopdatasize': '64M', 'dm.min_free_space': '20%' }
    const driver = await open(small)
    await driver.create('base')
    await write(driver, 'base', '/kept', Buffer.alloc(8 << 20, 1))
    await driver.createReadWrite('container', 'base')
    await expect(write(driver, 'container', '/large', Buffer.alloc(90 << 20, 2))).rejects.toMatchObject({
      code: 'ENOSPC',
    })
    await driver.put('container')
    await expect(driver.create('more', 'base')).rejects.toMatchObject({ code: 'NO_SPACE' })
    await driver.cleanup()
    const grown = await open({ ...small, 'dm.loopdatasize': '256M' })
    await write(grown, 'container', '/large', Buffer.alloc(90 << 20, 3))
    const { fs } = await grown.get('container')
    expect((await fs.readFile('/kept')).equals(Buffer.alloc(8 << 20, 1))).toBe(true)
    expect((await fs.stat('/large')).size).toBe(90 << 20)
  })

  it('gives a layer more than the base device has, and no less', async () => {
    const driver = await open({ ...SMALL, 'dm.basesize': '32M' })
    await driver.create('base')
    await expect(
      driver.createReadWrite('small', 'base', { storageOptions: { size: '16M' } }),
    ).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
    await driver.createReadWrite('large', 'base', { storageOptions: { size: '100M' } })
    await write(driver, 'large', '/file', Buffer.alloc(60 << 20, 1))
    await driver.createReadWrite('as-large', 'base')
    await expect(write(driver, 'as-large', '/file', Buffer.alloc(60 << 20, 1))).rejects.toMatchObject({
      code: 'ENOSPC',
    })
    await driver.put('as-large')
  })

  it('is not opened by the other engine, and opens nothing of the other', async () => {
    await (await open()).create('base')
    await expect(devicemapper.open({ root, engine: 'kernel', readOnly: false })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringContaining('userspace'),
    })
    writeFileSync(
      join(root, 'devicemapper/metadata/deviceset-metadata'),
      '{"next_device_id":1,"BaseDeviceUUID":"x","BaseDeviceFilesystem":"xfs"}',
    )
    await expect(open()).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringContaining('kernel'),
    })
  })

  it('refuses a foreign file in the place of its metadata, and leaves it as it is', async () => {
    mkdirSync(join(metadata, '..'), { recursive: true })
    writeFileSync(metadata, Buffer.alloc(9000, 'foreign'))
    await expect(open()).rejects.toMatchObject({ code: 'STORE_FOREIGN', path: metadata })
    expect(readFileSync(metadata).equals(Buffer.alloc(9000, 'foreign'))).toBe(true)
  })

  it('says what is missing of a data file that was cut short, and shows the layers that are whole', async () => {
    const driver = await open()
    await driver.create('first')
    await write(driver, 'first', '/small', Buffer.from('small'))
    await driver.create('second')
    await write(driver, 'second', '/large', Buffer.alloc(16 << 20, 7))
    await driver.cleanup()
    const data = join(metadata, '../data')
    truncateSync(data, statSync(data).size - (4 << 20))
    const again = await open()
    expect(await (await again.get('first')).fs.readFile('/small', 'utf8')).toBe('small')
    const failed: unknown = await again
      .get('second')
      .then(({ fs }) => fs.readFile('/large'))
      .catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: expect.stringMatching(/^(EIO|STORE_CORRUPT)$/) })
  })

  it('tells in a check what is damaged, and of which layer', async () => {
    const driver = await open()
    await driver.create('base')
    await driver.create('layer', 'base')
    await write(driver, 'layer', '/file', Buffer.alloc(100_000, 'content'))
    expect(await driver.check?.()).toEqual([])
    await driver.cleanup()
    const data = join(metadata, '../data')
    const bytes = readFileSync(data)
    const at = bytes.indexOf('contentcontent')
    writeFileSync(data, bytes.fill(0, at, at + 1))
    expect(await (await open()).check?.()).toMatchObject([{ path: data, layer: 'layer' }])
  })

  it('undoes what was being made when its process died', unless(noTools), async () => {
    const driver = await open()
    await driver.create('base')
    await driver.cleanup()
    const files = join(root, 'devicemapper/metadata')
    const { open_transaction_id: last } = JSON.parse(
      readFileSync(join(files, 'transaction-metadata'), 'utf8'),
    )
    writeFileSync(
      join(files, 'transaction-metadata'),
      JSON.stringify({ open_transaction_id: last + 1, device_hash: 'half', device_id: 77 }),
    )
    writeFileSync(
      join(files, 'half'),
      JSON.stringify({
        device_id: 77,
        size: 1 << 20,
        transaction_id: last + 1,
        initialized: false,
        deleted: false,
      }),
    )
    const again = await open()
    expect(await again.list()).toEqual(['base'])
    await again.create('half', 'base')
    await again.cleanup()
    await run('thin_check', [metadata])
  })
})

function open(driverOptions: Record<string, unknown> = SMALL): Promise<Driver> {
  return place.open({ driverOptions })
}

function spaceUsed(driver: Driver): Promise<number> {
  return rowOf(driver, 'Data Space Used')
}

async function devicesOf(): Promise<string[]> {
  const listed = (await run('thin_ls', ['--no-headers', '-o', 'DEV', metadata])).toString()
  return listed.split('\n').filter((line) => line.trim() !== '')
}
