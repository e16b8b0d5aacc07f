/** @module-tag device-mapper */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hasThinSuperblock } from '#layerstack/drivers/devicemapper/kernel/thin-superblock.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { attachLoop, type LoopDevice } from '#layerstack/sys/loop.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { noThinPools, SMALL, thinFixture, type ThinFixture } from './thin-fixture.js'

const MEBIBYTE = 1 << 20

describe('devicemapper with a small pool', unless(noThinPools), () => {
  let fixture: ThinFixture
  let driver: Driver
  const tight = { 'dm.loopdatasize': '96M', 'dm.loopmetadatasize': '8M' }

  beforeEach(() => {
    fixture = thinFixture()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  describe.each(['ext4', 'xfs'] as const)('on %s', (type) => {
    const options = { ...SMALL[type], ...tight }

    it('fails writes and refuses new layers once full, keeps other layers, and works again once grown', async () => {
      driver = await fixture.open(options)
      await driver.create('base')
      await write('base', '/kept', Buffer.alloc(4 * MEBIBYTE, 1))
      for (const id of ['one', 'two', 'three']) await driver.createReadWrite(id, 'base')
      await write('one', '/fits', Buffer.alloc(30 * MEBIBYTE, 1))
      await write('two', '/fits', Buffer.alloc(26 * MEBIBYTE, 2))
      await expect(write('three', '/does-not', Buffer.alloc(36 * MEBIBYTE, 3))).rejects.toMatchObject({
        code: expect.stringMatching(/ENOSPC|EIO|NO_SPACE/),
      })
      await expect(driver.createReadWrite('four', 'base')).rejects.toMatchObject({
        code: 'NO_SPACE',
        hint: expect.stringContaining('dm.min_free_space'),
      })
      expect((await driver.list()).toSorted()).toEqual(['base', 'one', 'three', 'two'])
      expect(await starts('base', '/kept')).toBe(1)
      expect(await starts('one', '/fits')).toBe(1)
      expect(await starts('two', '/fits')).toBe(2)
      await driver.cleanup()

      driver = await fixture.open({ ...options, 'dm.loopdatasize': '256M' })
      expect(await starts('one', '/fits')).toBe(1)
      const { fs } = await driver.get('three')
      await fs.rm('/does-not', { force: true })
      await driver.put('three')
      await write('three', '/does', Buffer.alloc(16 * MEBIBYTE, 3))
      await driver.createReadWrite('four', 'base')
      expect(await starts('four', '/kept')).toBe(1)
    })

    it('grows the pool while a layer is open', async () => {
      driver = await fixture.open(options)
      await driver.create('base')
      await driver.createReadWrite('c', 'base')
      await driver.get('c')
      const other = await fixture.open({ ...options, 'dm.loopdatasize': '256M' })
      await driver.put('c')
      expect(Object.fromEntries(await driver.status())['Data Space Total']).toBe('268.4MB')
      await other.cleanup()
    })
  })

  it('refuses a new layer if less than dm.min_free_space is free', async () => {
    driver = await fixture.open({ ...SMALL.ext4, ...tight, 'dm.min_free_space': '95%' })
    await expect(driver.create('base')).rejects.toMatchObject({ code: 'NO_SPACE' })
    await driver.cleanup()
    driver = await fixture.open({ ...SMALL.ext4, 'dm.min_free_space': '0%' })
    await driver.create('base')
  })

  async function write(id: string, path: string, content: Uint8Array): Promise<void> {
    const { fs } = await driver.get(id)
    try {
      await fs.writeFile(path, content)
      await using file = await fs.open(path, 'r+')
      await file.sync()
    } finally {
      await driver.put(id)
    }
  }

  async function starts(id: string, path: string): Promise<number | undefined> {
    const { fs } = await driver.get(id)
    try {
      return (await fs.readFile(path))[0]
    } finally {
      await driver.put(id)
    }
  }
})

describe('devicemapper with dm.thinpooldev or dm.directlvm_device', unless(noThinPools), () => {
  let fixture: ThinFixture
  let loops: LoopDevice[]
  let base: string

  beforeEach(() => {
    fixture = thinFixture()
    loops = []
    base = mkdtempSync(join(tmpdir(), 'layerstack-given-'))
  })
  afterEach(async () => {
    await fixture[Symbol.asyncDispose]()
    await run('dmsetup', ['remove', '--retry', 'given']).catch(() => undefined)
    for (const { path } of loops) if (hasThinSuperblock(path)) await run('thin_check', [path])
    for (const { fd } of loops) closeSync(fd)
    rmSync(base, { recursive: true })
  })

  function device(megabytes: number): LoopDevice {
    const file = join(base, `file-${loops.length}`)
    writeFileSync(file, '')
    truncateSync(file, megabytes * MEBIBYTE)
    const loop = attachLoop(file)
    loops.push(loop)
    return loop
  }

  async function givenPool(): Promise<string> {
    const [metadata, data] = [device(8), device(256)]
    const table = `0 ${256 * 2048} thin-pool ${metadata.path} ${data.path} 128 0 1 skip_block_zeroing`
    await run('dmsetup', ['create', 'given', '--table', table])
    return '/dev/mapper/given'
  }

  it('uses a given thin pool and keeps it at cleanup', async () => {
    const pool = await givenPool()
    const driver = await fixture.open({ ...SMALL.ext4, 'dm.thinpooldev': pool })
    await driver.create('base')
    const rows = Object.fromEntries(await driver.status())
    expect(rows['Pool Name']).toBe('given')
    expect(existsSync(join(fixture.root, 'devicemapper/devicemapper/data'))).toBe(false)
    await driver.cleanup()
    const again = await fixture.open({})
    expect(Object.fromEntries(await again.status())['Pool Name']).toBe('given')
    expect(await again.list()).toEqual(['base'])
  })

  it('refuses a stale pool of the same name while it is in use, and replaces it afterwards', async () => {
    const first = await fixture.open()
    const name = Object.fromEntries(await first.status())['Pool Name'] ?? ''
    await first.cleanup()
    const [metadata, data] = [device(8), device(64)]
    const table = `0 ${64 * 2048} thin-pool ${metadata.path} ${data.path} 128 0 1 skip_block_zeroing`
    await run('dmsetup', ['create', name, '--table', table])
    await run('dmsetup', ['message', name, '0', 'create_thin 9'])
    await run('dmsetup', ['create', 'layerstack-test-stale', '--table', `0 8 thin /dev/mapper/${name} 9`])
    await expect(fixture.open()).rejects.toMatchObject({
      code: 'STORE_FOREIGN',
      hint: expect.stringContaining('dmsetup remove'),
    })
    await run('dmsetup', ['remove', '--retry', 'layerstack-test-stale'])
    const driver = await fixture.open()
    await driver.create('base')
    expect(Object.fromEntries(await driver.status())['Data Space Total']).toBe('107.4GB')
  })

  it('refuses a pool of another program, a device that is not a pool, and a missing device', async () => {
    const pool = await givenPool()
    await run('dmsetup', ['message', 'given', '0', 'create_thin 1'])
    await run('dmsetup', ['message', 'given', '0', 'set_transaction_id 0 5'])
    const foreign = { code: 'STORE_FOREIGN', hint: expect.any(String) }
    await expect(fixture.open({ ...SMALL.ext4, 'dm.thinpooldev': pool })).rejects.toMatchObject(foreign)
    await run('dmsetup', ['create', 'layerstack-test-none', '--table', `0 8 linear ${device(1).path} 0`])
    const unsupported = { code: 'ENGINE_UNSUPPORTED', hint: expect.stringContaining('dm.thinpooldev') }
    for (const name of ['layerstack-test-none', 'layerstack-test-missing']) {
      await expect(fixture.open({ 'dm.thinpooldev': name })).rejects.toMatchObject(unsupported)
    }
    await run('dmsetup', ['remove', '--retry', 'layerstack-test-none'])
    expect((await run('dmsetup', ['status', 'given'])).toString()).toContain('thin-pool 5 ')
  })

  it('refuses the pool of another root, and a pool other than its own', async () => {
    const pool = await givenPool()
    const driver = await fixture.open({ ...SMALL.ext4, 'dm.thinpooldev': pool })
    await driver.create('base')
    await driver.cleanup()
    const other = thinFixture()
    await expect(other.open({ 'dm.thinpooldev': pool })).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    await other[Symbol.asyncDispose]()
    await expect(fixture.open({ 'dm.thinpooldev': 'another' })).rejects.toMatchObject({
      code: 'STORE_FOREIGN',
    })
    await run('dmsetup', ['remove', '--retry', 'given'])
    await givenPool()
    await expect(fixture.open({})).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    await run('dmsetup', ['remove', '--retry', 'given'])
    rmSync(join(fixture.root, 'devicemapper'), { recursive: true })
  })

  it('creates a pool on a block device, finds it again, and grows with the device', async () => {
    const { path, minor } = device(256)
    const options = { ...SMALL.ext4, 'dm.directlvm_device': path }
    const driver = await fixture.open(options)
    await driver.create('base')
    const { fs } = await driver.get('base')
    await fs.writeFile('/hello', 'hello')
    await driver.put('base')
    await driver.cleanup()
    expect((await run('dmsetup', ['ls'])).toString()).toContain('No devices found')
    truncateSync(join(base, 'file-0'), 512 * MEBIBYTE)
    await run('losetup', ['--set-capacity', `/dev/loop${minor}`])
    const again = await fixture.open({})
    const view = await again.get('base')
    expect(await view.fs.readFile('/hello', 'utf8')).toBe('hello')
    await again.put('base')
    expect(Object.fromEntries(await again.status())['Data Space Total']).toBe('534.8MB')
  })

  it('refuses a device that holds data, unless dm.directlvm_device_force is set', async () => {
    const { path, fd } = device(256)
    for (const at of [0, 256 * MEBIBYTE - 4096]) {
      writeSync(fd, 'somebody’s data', at)
      await expect(fixture.open({ 'dm.directlvm_device': path })).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
        hint: expect.stringContaining('dm.directlvm_device_force'),
      })
      const start = Buffer.alloc(8)
      readSync(fd, start, 0, 8, at)
      expect(start.toString()).toBe('somebody')
      writeSync(fd, Buffer.alloc(64), 0, 64, at)
    }
    writeSync(fd, 'somebody’s data', 0)
    const driver = await fixture.open({
      ...SMALL.ext4,
      'dm.directlvm_device': path,
      'dm.directlvm_device_force': true,
    })
    await driver.create('base')
  })

  it('refuses a mounted device, a directory and a missing path', async () => {
    const { path } = device(64)
    await run('mkfs.ext4', ['-q', path])
    const mounted = join(base, 'mounted')
    mkdirSync(mounted)
    await run('mount', [path, mounted])
    const force = { 'dm.directlvm_device_force': true }
    await expect(fixture.open({ 'dm.directlvm_device': path, ...force })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringContaining('in use'),
    })
    await run('umount', [mounted])
    for (const wrong of [base, join(base, 'missing')]) {
      await expect(fixture.open({ 'dm.directlvm_device': wrong, ...force })).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
      })
    }
  })

  it('recognizes its device by the content', async () => {
    const { path, fd } = device(256)
    const driver = await fixture.open({ ...SMALL.ext4, 'dm.directlvm_device': path })
    await driver.create('base')
    await driver.cleanup()
    const start = Buffer.alloc(4096)
    readSync(fd, start, 0, 4096, 0)
    writeSync(fd, Buffer.alloc(4096, 7), 0, 4096, 0)
    await expect(fixture.open({})).rejects.toMatchObject({ code: 'STORE_FOREIGN', path })
    writeSync(fd, start, 0, 4096, 0)
    const again = await fixture.open({})
    expect(await again.list()).toEqual(['base'])
  })
})
