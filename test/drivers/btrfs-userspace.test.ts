/** @module-tag every-identity */
import { mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BLOCK } from '#layerstack/cow/block.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { rowOf, UserspaceFixture, write } from './userspace-fixture.js'

let fixture: UserspaceFixture
let root: string
let pool: string

beforeEach(() => {
  fixture = new UserspaceFixture(btrfs)
  ;({ root } = fixture)
  pool = join(root, 'btrfs/layers.cow')
})

afterEach(() => fixture[Symbol.asyncDispose]())

describe('btrfs on the userspace engine', () => {
  it('has a root that the kernel engine refuses and engine auto opens', async () => {
    await (await open()).create('base')
    await expect(btrfs.open({ root, engine: 'kernel', readOnly: false })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringContaining('userspace'),
      hint: expect.any(String),
    })
    expect(await btrfs.holdsLayers(root)).toBe(true)
    expect((await open('auto')).engine).toBe('userspace')
  })

  it.each([
    ['a foreign file', (path: string) => writeFileSync(path, 'not one of ours, whatever its name may say')],
    [
      'a file that starts with zeros',
      (path: string) => writeFileSync(path, Buffer.alloc(9000, 0).fill(1, 600)),
    ],
  ])('refuses %s and leaves it unchanged', async (_what, make) => {
    mkdirSync(join(root, 'btrfs'))
    make(pool)
    const before = readFileSync(pool)
    await expect(open()).rejects.toMatchObject({ code: 'STORE_FOREIGN', path: pool })
    expect(readFileSync(pool).equals(before)).toBe(true)
  })

  it('does not create a new store in a file whose first 8 KiB are lost', async () => {
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/large', Buffer.alloc(8 << 20, 7))
    await driver.cleanup()
    const bytes = readFileSync(pool).fill(0, 0, 8192)
    writeFileSync(pool, bytes)
    await expect(open()).rejects.toMatchObject({ code: 'STORE_CORRUPT', path: pool })
    expect(readFileSync(pool).equals(bytes)).toBe(true)
  })

  it('fails with EIO for a missing block of a truncated file and reads the intact layers', async () => {
    const driver = await open()
    await driver.create('first')
    await write(driver, 'first', '/small', Buffer.from('small'))
    await driver.create('second')
    await write(driver, 'second', '/large', Buffer.alloc(8 << 20, 7))
    await driver.cleanup()
    truncateSync(pool, statSync(pool).size - (2 << 20))
    const again = await open()
    const { fs } = await again.get('second')
    await expect(fs.readFile('/large')).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringMatching(/block \d+ of .*layers\.cow/),
    })
    expect(await (await again.get('first')).fs.readFile('/small', 'utf8')).toBe('small')
  })

  it('allocates fewer than 20 blocks for one block written into a large file', async () => {
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/large', Buffer.alloc(64 << 20, 1))
    await driver.createReadWrite('container', 'base')
    const before = await spaceUsed(driver)
    const { fs } = await driver.get('container')
    await using file = await fs.open('/large', 'r+')
    await file.write(Buffer.alloc(BLOCK, 2), 0, BLOCK, 20 << 20)
    await file.close()
    await driver.put('container')
    const taken = (await spaceUsed(driver)) - before
    expect(taken).toBeGreaterThanOrEqual(BLOCK)
    expect(taken).toBeLessThan(20 * BLOCK)
  })

  it('needs similar space for a child of a small layer and of a large one', async () => {
    const driver = await open()
    const costs: number[] = []
    for (const [name, files] of [
      ['few', 10],
      ['many', 5000],
    ] as const) {
      await driver.create(name)
      const { fs } = await driver.get(name)
      for (let index = 0; index < files; index++) await fs.writeFile(`/file${index}`, 'x')
      await driver.put(name)
      const before = await spaceUsed(driver)
      await driver.create(`on-${name}`, name)
      costs.push((await spaceUsed(driver)) - before)
    }
    expect(costs[1]).toBeLessThanOrEqual(Math.max(2 * BLOCK, 2 * (costs[0] as number)))
  })

  it('reuses the space of removed layers, so that its file stays below 28 MiB', async () => {
    const driver = await open()
    await driver.create('kept')
    const before = await spaceUsed(driver)
    for (let round = 0; round < 5; round++) {
      await driver.create('passing')
      await write(driver, 'passing', '/large', Buffer.alloc(8 << 20, round))
      await driver.remove('passing')
    }
    expect((await spaceUsed(driver)) - before).toBeLessThan(8 * BLOCK)
    expect(statSync(pool).size).toBeLessThan(28 << 20)
  })

  it('reports the damaged block and its layer in a check', async () => {
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/file', Buffer.alloc(100_000, 'content'))
    expect(await driver.check?.()).toEqual([])
    await driver.cleanup()
    const bytes = readFileSync(pool)
    const at = bytes.indexOf('contentcontent')
    writeFileSync(pool, bytes.fill(0, at, at + 1))
    expect(await (await open()).check?.()).toEqual([
      { path: pool, layer: 'base', detail: expect.stringContaining(`block ${Math.floor(at / BLOCK)}:`) },
    ])
  })

  it('shows changes of another driver through a read-only one, which refuses writes', async () => {
    const reader = await fixture.open({ readOnly: true })
    expect(await reader.list()).toEqual([])
    const driver = await open()
    await driver.create('base')
    await write(driver, 'base', '/file', Buffer.from('first'))
    expect(await reader.list()).toEqual(['base'])
    const { fs } = await reader.get('base')
    expect(await fs.readFile('/file', 'utf8')).toBe('first')
    await write(driver, 'base', '/file', Buffer.from('second'))
    expect(await fs.readFile('/file', 'utf8')).toBe('second')
    await expect(fs.writeFile('/file', 'third')).rejects.toMatchObject({ code: 'EROFS' })
    await expect(reader.remove('base')).rejects.toMatchObject({ code: 'STORE_READ_ONLY' })
  })

  it('rejects invalid and unsupported options', async () => {
    await expect(open('userspace', { cache: -1 })).rejects.toThrow(TypeError)
    await expect(open('userspace', { attributes: 'override' })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
    })
  })
})

function open(
  engine: 'userspace' | 'auto' = 'userspace',
  driverOptions: Record<string, unknown> = {},
): Promise<Driver> {
  return fixture.open({ engine, driverOptions })
}

function spaceUsed(driver: Driver): Promise<number> {
  return rowOf(driver, 'Space Used')
}
