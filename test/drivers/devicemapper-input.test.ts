/** @module-tag device-mapper */
import { existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { hasCapability } from '#layerstack/sys/capabilities.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { noThinPools, thinIds, thinFixture, type ThinFixture } from './thin-fixture.js'

describe('devicemapper with invalid options or a damaged root', unless(noThinPools), () => {
  let fixture: ThinFixture

  beforeEach(() => {
    fixture = thinFixture()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const inMetadata = (name: string): string => join(fixture.root, 'devicemapper/metadata', name)

  async function withLayer(): Promise<void> {
    const driver = await fixture.open()
    await driver.create('layer')
    await driver.cleanup()
  }

  it('rejects invalid options before it creates anything', async () => {
    for (const wrong of [
      { 'dm.flavour': 'mint' },
      { 'dm.basesize': 'much' },
      { 'dm.blocksize': '100K' },
      { 'dm.fs': 'btrfs' },
      { 'dm.min_free_space': '10' },
      { 'dm.min_free_space': '100%' },
      { 'dm.use_deferred_removal': 'perhaps' },
      { 'dm.use_deferred_removal': false, 'dm.use_deferred_deletion': true },
      { 'dm.thinpooldev': 'a', 'dm.directlvm_device': '/dev/b' },
    ]) {
      await expect(fixture.open(wrong), JSON.stringify(wrong)).rejects.toThrow(TypeError)
    }
    expect(existsSync(join(fixture.root, 'devicemapper'))).toBe(false)
  })

  it('refuses a base device with another UUID', async () => {
    await withLayer()
    const file = inMetadata('deviceset-metadata')
    const kept = readFileSync(file, 'utf8')
    writeFileSync(file, kept.replace(/"BaseDeviceUUID":"../, '"BaseDeviceUUID":"zz'))
    await expect(fixture.open()).rejects.toMatchObject({
      code: 'STORE_FOREIGN',
      hint: expect.stringContaining('thin pool'),
    })
    writeFileSync(file, kept)
  })

  it('refuses the pool of another root and leaves it unchanged, even if its own records need recovery', async () => {
    await using other = thinFixture()
    for (const { open } of [fixture, other]) {
      const driver = await open()
      await driver.create('layer')
      await driver.create('going', 'layer')
      await driver.cleanup()
    }
    const copy = join(fixture.base, 'copy')
    await run('cp', ['-a', '--sparse=always', fixture.root, copy])
    const files = 'devicemapper/devicemapper'
    await run('cp', ['--sparse=always', '-r', join(other.root, files), join(fixture.root, 'devicemapper')])
    writeFileSync(
      inMetadata('transaction-metadata'),
      JSON.stringify({ open_transaction_id: 99, device_hash: 'layer', device_id: 2 }),
    )
    writeFileSync(inMetadata('going'), readFileSync(inMetadata('going'), 'utf8').replace('false}', 'true}'))
    await expect(fixture.open()).rejects.toMatchObject({
      code: 'STORE_FOREIGN',
      hint: expect.stringContaining('the thin pool that it was made with'),
    })
    expect(await thinIds(fixture.root)).toEqual([1, 2, 3])
    await run('cp', ['-a', '--sparse=always', `${copy}/.`, fixture.root])
    expect((await (await fixture.open()).list()).toSorted()).toEqual(['going', 'layer'])
  })

  it('refuses a base device whose file system differs from its record or from dm.fs', async () => {
    await withLayer()
    const file = inMetadata('deviceset-metadata')
    const kept = readFileSync(file, 'utf8')
    writeFileSync(file, kept.replace('"ext4"', '"xfs"'))
    await expect(fixture.open()).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    writeFileSync(file, kept)
    await expect(fixture.open({ 'dm.fs': 'xfs' })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      hint: expect.stringContaining('dm.fs'),
    })
  })

  it('reports a layer with a truncated record and keeps the others usable', async () => {
    const driver = await fixture.open()
    for (const id of ['layer', 'other']) await driver.create(id)
    for (const torn of ['', readFileSync(inMetadata('layer'), 'utf8').slice(0, 20), '{}']) {
      writeFileSync(inMetadata('layer'), torn)
      const again = await fixture.open()
      expect(await again.list()).toEqual(expect.arrayContaining(['layer', 'other']))
      const corrupt = { code: 'STORE_CORRUPT', path: inMetadata('layer'), hint: expect.any(String) }
      await expect(again.get('layer')).rejects.toMatchObject(corrupt)
      await expect(again.create('child', 'layer')).rejects.toMatchObject(corrupt)
      await again.create(`child${torn.length}`, 'other')
    }
    await driver.remove('layer')
    expect((await driver.list()).toSorted()).toEqual(['child0', 'child2', 'child20', 'other'])
    await driver.create('layer')
  })

  it('works if metadata files with derivable content are torn', async () => {
    await withLayer()
    const kept = JSON.parse(readFileSync(inMetadata('deviceset-metadata'), 'utf8')) as {
      BaseDeviceUUID: string
    }
    for (const name of ['deviceset-metadata', 'transaction-metadata', 'base']) {
      writeFileSync(inMetadata(name), 'torn')
      const driver = await fixture.open()
      expect(await driver.list()).toEqual(['layer'])
      await driver.create(name)
      await driver.remove(name)
      await driver.cleanup()
      if (name !== 'deviceset-metadata') continue
      const found = JSON.parse(readFileSync(inMetadata(name), 'utf8')) as typeof kept
      expect(found.BaseDeviceUUID).toBe(kept.BaseDeviceUUID)
    }
  })

  it('refuses a pool with a truncated or missing metadata or data file, and does not recreate it', async () => {
    await withLayer()
    for (const name of ['metadata', 'data']) {
      const file = join(fixture.root, 'devicemapper/devicemapper', name)
      const copy = join(fixture.base, 'copy')
      await run('cp', ['--sparse=always', file, copy])
      for (const size of [4096 * 64, 0]) {
        truncateSync(file, size)
        await expect(fixture.open(), `${name} of ${size} bytes`).rejects.toMatchObject({
          code: 'STORE_CORRUPT',
          hint: expect.any(String),
        })
        expect(statSync(file).size).toBe(size)
      }
      rmSync(file)
      await expect(fixture.open()).rejects.toMatchObject({ code: 'STORE_CORRUPT', path: file })
      expect(existsSync(file)).toBe(false)
      await run('mv', [copy, file])
    }
    expect(await (await fixture.open()).list()).toEqual(['layer'])
  })

  it('names the package to install if mkfs.xfs is missing', async () => {
    const { PATH } = process.env
    process.env['PATH'] = '/nowhere'
    try {
      const hidden = join(fixture.base, 'empty')
      await run('/bin/mkdir', [hidden])
      await run('/bin/mount', ['--bind', hidden, '/usr/sbin'])
      try {
        await expect(fixture.open({ 'dm.fs': 'xfs' })).rejects.toMatchObject({
          code: 'ENGINE_UNSUPPORTED',
          hint: expect.stringContaining('install xfsprogs'),
        })
      } finally {
        await run('/bin/umount', ['/usr/sbin'])
      }
    } finally {
      process.env['PATH'] = PATH
    }
    await withLayer()
  })

  it('reports that no loop device is available and suggests dm.thinpooldev', async () => {
    await run('mount', ['--bind', '/dev/null', '/dev/loop-control'])
    try {
      await expect(fixture.open()).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
        message: expect.stringContaining('no loop device'),
        hint: expect.stringContaining('dm.thinpooldev'),
      })
    } finally {
      await run('umount', ['/dev/loop-control'])
    }
    await withLayer()
  })
})

describe('devicemapper without thin pools', () => {
  it(
    'fails with a hint on the requirements of the kernel engine',
    unless(noThinPools === undefined ? 'thin pools work on this machine' : undefined),
    async () => {
      await using fixture = thinFixture()
      await expect(fixture.open()).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
        hint: expect.stringContaining('as root, load the kernel modules'),
      })
      const { engines } = await devicemapper.supported(fixture.root)
      expect(engines).toContainEqual(
        hasCapability('CAP_SYS_ADMIN')
          ? { engine: 'kernel', works: false, reason: expect.stringContaining('device-mapper') }
          : { engine: 'kernel', works: false, reason: expect.any(String) },
      )
    },
  )
})
