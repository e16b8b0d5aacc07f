/** @module-tag every-identity */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
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

/** A third-party driver that never works. */
const broken: DriverFactory = {
  name: 'broken',
  open: async () => {
    throw new StoreError('ENGINE_UNSUPPORTED', 'the moon is not full')
  },
  holdsLayers: async () => false,
  supported: async () => ({ engines: [{ engine: 'kernel', works: false, reason: 'the moon is not full' }] }),
}

describe('DriverRegistry', () => {
  it('lists the known drivers when asked for an unknown one', () => {
    expect(() => builtIn.get('zfs')).toThrow(
      expect.objectContaining({ code: 'DRIVER_UNKNOWN', hint: expect.stringContaining('overlay2, vfs') }),
    )
  })

  it('rejects two drivers of the same name', () => {
    expect(() => new DriverRegistry([vfs, vfs])).toThrow(TypeError)
  })
})

describe('selectDriver', () => {
  it('takes the first driver that works, and reports why earlier ones were refused', async () => {
    const { driver, refused } = await selectDriver(new DriverRegistry([broken, vfs, overlay2]), auto())
    expect(driver.name).toBe('vfs')
    expect(refused).toEqual([{ name: 'broken', reason: 'the moon is not full' }])
  })

  it('prefers a driver that already holds layers in the root', async () => {
    await (await vfs.open({ root, engine: 'auto', readOnly: false })).create('base')
    expect((await selectDriver(builtIn, auto())).driver.name).toBe('vfs')
  })

  it('refuses to choose if the driver that holds layers does not work', async () => {
    const prior = { ...broken, holdsLayers: async () => true }
    await expect(selectDriver(new DriverRegistry([overlay2, prior]), auto())).rejects.toMatchObject({
      code: 'DRIVER_UNSUPPORTED',
      message: expect.stringContaining('broken: the moon is not full'),
      hint: expect.any(String),
    })
  })

  it('fails with DRIVER_UNSUPPORTED if no driver works', async () => {
    const registry = new DriverRegistry([broken, { ...broken, name: 'worse' }])
    await expect(selectDriver(registry, auto())).rejects.toMatchObject({
      code: 'DRIVER_UNSUPPORTED',
      message: expect.stringMatching(/broken: the moon is not full; worse: the moon is not full/),
    })
  })

  it('opens a driver by name and never falls back to another one', async () => {
    expect((await selectDriver(builtIn, auto({ driver: 'vfs' }))).driver.name).toBe('vfs')
    await expect(selectDriver(builtIn, auto({ driver: 'vfs', engine: 'kernel' }))).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
    })
  })

  it('rethrows an error that is not a refusal', async () => {
    mkdirSync(join(root, 'layerstack'))
    writeFileSync(join(root, 'layerstack/overlay2.json'), '{"attributes":"by heart"}')
    await expect(selectDriver(builtIn, auto())).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('rejects options that the driver does not have', async () => {
    await expect(
      selectDriver(builtIn, auto({ driver: 'overlay2', driverOptions: { size: '10G' } })),
    ).rejects.toThrow(TypeError)
  })
})

describe('overlay2.supported', () => {
  it('lists the userspace engine as working and a reason for each other engine, and leaves nothing behind', async () => {
    const { engines } = await overlay2.supported(root)
    expect(engines).toContainEqual({ engine: 'userspace', works: true })
    for (const { works, reason } of engines) expect(works || reason !== undefined).toBe(true)
    expect(readdirSync(root)).toEqual([])
  })
})
