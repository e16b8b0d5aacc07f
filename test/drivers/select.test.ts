import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DriverFactory } from '#layerstack/drivers/factory.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import { DriverRegistry } from '#layerstack/drivers/registry.js'
import { selectDriver, type SelectOptions } from '#layerstack/drivers/select.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { StoreError } from '#layerstack/errors.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layerstack-select-'))
})
afterEach(() => {
  rmSync(root, { recursive: true })
})

const builtIn = new DriverRegistry([overlay2, vfs])
const auto = (rest: Partial<SelectOptions> = {}): SelectOptions => ({
  root,
  driver: 'auto',
  engine: 'auto',
  readOnly: false,
  ...rest,
})

/** A driver that never works: a factory of somebody else's. */
const broken: DriverFactory = {
  name: 'broken',
  open: async () => {
    throw new StoreError('ENGINE_UNSUPPORTED', 'the moon is not full')
  },
  holdsLayers: async () => false,
  supported: async () => ({ engines: [{ engine: 'kernel', works: false, reason: 'the moon is not full' }] }),
}

describe('a registry of drivers', () => {
  it('tells which drivers it knows when asked for another', () => {
    expect(() => builtIn.get('zfs')).toThrow(
      expect.objectContaining({ code: 'DRIVER_UNKNOWN', hint: expect.stringContaining('overlay2, vfs') }),
    )
  })

  it('takes a name once', () => {
    expect(() => new DriverRegistry([vfs, vfs])).toThrow(TypeError)
  })
})

describe('choosing a driver', () => {
  it('takes the first that works, and says why those before it were refused', async () => {
    const { driver, refused } = await selectDriver(new DriverRegistry([broken, vfs, overlay2]), auto())
    expect(driver.name).toBe('vfs')
    expect(refused).toEqual([{ name: 'broken', reason: 'the moon is not full' }])
  })

  it('prefers one that holds layers in this root already', async () => {
    await (await vfs.open({ root, engine: 'auto', readOnly: false })).create('base')
    expect((await selectDriver(builtIn, auto())).driver.name).toBe('vfs')
  })

  it('takes none where another would hide the layers of one that does not work', async () => {
    const prior = { ...broken, holdsLayers: async () => true }
    await expect(selectDriver(new DriverRegistry([overlay2, prior]), auto())).rejects.toMatchObject({
      code: 'DRIVER_UNSUPPORTED',
      message: expect.stringContaining('broken: the moon is not full'),
      hint: expect.any(String),
    })
  })

  it('lists every reason when none works', async () => {
    const registry = new DriverRegistry([broken, { ...broken, name: 'worse' }])
    await expect(selectDriver(registry, auto())).rejects.toMatchObject({
      code: 'DRIVER_UNSUPPORTED',
      message: /broken: the moon is not full; worse: the moon is not full/,
    })
  })

  it('takes a driver by name, and no other in its place', async () => {
    expect((await selectDriver(builtIn, auto({ driver: 'vfs' }))).driver.name).toBe('vfs')
    await expect(selectDriver(builtIn, auto({ driver: 'vfs', engine: 'kernel' }))).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
    })
  })

  it('passes on what is no refusal', async () => {
    mkdirSync(join(root, 'layerstack'))
    writeFileSync(join(root, 'layerstack/overlay2.json'), '{"attributes":"by heart"}')
    await expect(selectDriver(builtIn, auto())).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('refuses options that a driver does not have', async () => {
    await expect(
      selectDriver(builtIn, auto({ driver: 'overlay2', driverOptions: { size: '10G' } })),
    ).rejects.toThrow(TypeError)
  })

  it('finds out what works without leaving anything behind', async () => {
    const { engines } = await overlay2.supported(root)
    expect(engines).toContainEqual({ engine: 'userspace', works: true })
    for (const { works, reason } of engines) expect(works || reason !== undefined).toBe(true)
    rmSync(root, { recursive: true })
    mkdirSync(root)
  })
})
