/** @module-tag every-identity */
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { rowOf, UserspaceFixture, write } from './userspace-fixture.js'

const BLOCK = 64 << 10
const SMALL = { 'dm.basesize': '256M', 'dm.loopdatasize': '512M', 'dm.loopmetadatasize': '16M' }
const noTools = notInstalled('thin_check', 'thin_ls')

let fixture: UserspaceFixture
let root: string
let metadata: string

beforeEach(() => {
  fixture = new UserspaceFixture(devicemapper)
  ;({ root } = fixture)
  metadata = join(root, 'devicemapper/devicemapper/metadata')
})

afterEach(() => fixture[Symbol.asyncDispose]())

describe('devicemapper on the userspace engine', () => {
  it(
    'leaves a pool that thin_check accepts after it creates, adopts and removes layers',
    unless(noTools),
    async () => {
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
      // The base device and four layers.
      expect(await devicesOf()).toHaveLength(5)
      const { fs } = await (await open()).get('layer')
      expect((await fs.readFile('/large')).equals(Buffer.alloc(9 << 20, 1))).toBe(true)
    },
  )

  it('allocates at most five pool blocks for one page written into a large file', async () => {
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

  it('allocates no blocks for a new layer and frees those of a removed one', async () => {
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

  it('refuses writes and new layers while full, keeps existing data, and works again once grown', async () => {
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

  it('accepts a layer size above that of the base device and refuses one below', async () => {
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

  it('does not share a root with the kernel engine', async () => {
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

  it('refuses a foreign file at the path of its metadata and leaves it unchanged', async () => {
    mkdirSync(join(metadata, '..'), { recursive: true })
    writeFileSync(metadata, Buffer.alloc(9000, 'foreign'))
    await expect(open()).rejects.toMatchObject({ code: 'STORE_FOREIGN', path: metadata })
    expect(readFileSync(metadata).equals(Buffer.alloc(9000, 'foreign'))).toBe(true)
  })

  it('reads the intact layers of a truncated data file and fails for damaged ones', async () => {
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

  it('reports the damaged file and its layer in a check', async () => {
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

  it('undoes the unfinished transaction of a killed process', unless(noTools), async () => {
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
  return fixture.open({ driverOptions })
}

function spaceUsed(driver: Driver): Promise<number> {
  return rowOf(driver, 'Data Space Used')
}

async function devicesOf(): Promise<string[]> {
  const listed = (await run('thin_ls', ['--no-headers', '-o', 'DEV', metadata])).toString()
  return listed.split('\n').filter((line) => line.trim() !== '')
}
