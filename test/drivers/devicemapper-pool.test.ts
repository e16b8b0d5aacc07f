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
import { noThinPools, SMALL, thinPlace, type ThinPlace } from './thin-place.js'

const MEBIBYTE = 1 << 20

describe('devicemapper, when its pool is full', unless(noThinPools), () => {
  let place: ThinPlace
  let driver: Driver
  const tight = { 'dm.loopdatasize': '96M', 'dm.loopmetadatasize': '8M' }

  beforeEach(() => {
    place = thinPlace()
  })
  afterEach(() => place[Symbol.asyncDispose]())

  describe.each(['ext4', 'xfs'] as const)('with layers on %s', (type) => {
    const options = { ...SMALL[type], ...tight }

    it('refuses new layers first, fails writes last, harms no other layer, and heals as it grows', async () => {
      driver = await place.open(options)
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

      driver = await place.open({ ...options, 'dm.loopdatasize': '256M' })
      expect(await starts('one', '/fits')).toBe(1)
      const { fs } = await driver.get('three')
      await fs.rm('/does-not', { force: true })
      await driver.put('three')
      await write('three', '/does', Buffer.alloc(16 * MEBIBYTE, 3))
      await driver.createReadWrite('four', 'base')
      expect(await starts('four', '/kept')).toBe(1)
    })

    it('grows while it is in use', async () => {
      driver = await place.open(options)
      await driver.create('base')
      await driver.createReadWrite('c', 'base')
      await driver.get('c')
      const other = await place.open({ ...options, 'dm.loopdatasize': '256M' })
      await driver.put('c')
      expect(Object.fromEntries(await driver.status())['Data Space Total']).toBe('268.4MB')
      await other.cleanup()
    })
  })

  it('makes layers as long as dm.min_free_space says', async () => {
    driver = await place.open({ ...SMALL.ext4, ...tight, 'dm.min_free_space': '95%' })
    await expect(driver.create('base')).rejects.toMatchObject({ code: 'NO_SPACE' })
    await driver.cleanup()
    driver = await place.open({ ...SMALL.ext4, 'dm.min_free_space': '0%' })
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

describe('devicemapper on a pool or a device that it is given', unless(noThinPools), () => {
  let place: ThinPlace
  let loops: LoopDevice[]
  let base: string

  beforeEach(() => {
    place = thinPlace()
    loops = []
    base = mkdtempSync(join(tmpdir(), 'layerstack-given-'))
  })
  afterEach(async () => {
    await place[Symbol.asyncDispose]()
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

  it('uses a thin pool, and leaves it where it is', async () => {
    const pool = await givenPool()
    const driver = await place.open({ ...SMALL.ext4, 'dm.thinpooldev': pool })
    await driver.create('base')
    const rows = Object.fromEntries(await driver.status())
    expect(rows['Pool Name']).toBe('given')
    expect(existsSync(join(place.root, 'devicemapper/devicemapper/data'))).toBe(false)
    await driver.cleanup()
    const again = await place.open({})
    expect(Object.fromEntries(await again.status())['Pool Name']).toBe('given')
    expect(await again.list()).toEqual(['base'])
  })

  it('does not take the pool of a root that is gone for its own, though it has its name', async () => {
    const first = await place.open()
    const name = Object.fromEntries(await first.status())['Pool Name'] ?? ''
    await first.cleanup()
    const [metadata, data] = [device(8), device(64)]
    const table = `0 ${64 * 2048} thin-pool ${metadata.path} ${data.path} 128 0 1 skip_block_zeroing`
    await run('dmsetup', ['create', name, '--table', table])
    await run('dmsetup', ['message', name, '0', 'create_thin 9'])
    await run('dmsetup', ['create', 'layerstack-test-stale', '--table', `0 8 thin /dev/mapper/${name} 9`])
    await expect(place.open()).rejects.toMatchObject({
      code: 'STORE_FOREIGN',
      hint: expect.stringContaining('dmsetup remove'),
    })
    await run('dmsetup', ['remove', '--retry', 'layerstack-test-stale'])
    const driver = await place.open()
    await driver.create('base')
    expect(Object.fromEntries(await driver.status())['Data Space Total']).toBe('107.4GB')
  })

  it('refuses a pool that is somebody else’s, that is none, or that is not there', async () => {
    const pool = await givenPool()
    await run('dmsetup', ['message', 'given', '0', 'create_thin 1'])
    await run('dmsetup', ['message', 'given', '0', 'set_transaction_id 0 5'])
    const foreign = { code: 'STORE_FOREIGN', hint: expect.any(String) }
    await expect(place.open({ ...SMALL.ext4, 'dm.thinpooldev': pool })).rejects.toMatchObject(foreign)
    await run('dmsetup', ['create', 'layerstack-test-none', '--table', `0 8 linear ${device(1).path} 0`])
    const unsupported = { code: 'ENGINE_UNSUPPORTED', hint: expect.stringContaining('dm.thinpooldev') }
    for (const name of ['layerstack-test-none', 'layerstack-test-missing']) {
      await expect(place.open({ 'dm.thinpooldev': name })).rejects.toMatchObject(unsupported)
    }
    await run('dmsetup', ['remove', '--retry', 'layerstack-test-none'])
    expect((await run('dmsetup', ['status', 'given'])).toString()).toContain('thin-pool 5 ')
  })

  it('does not take a pool of its own for another root’s, nor another pool for its own', async () => {
    const pool = await givenPool()
    const driver = await place.open({ ...SMALL.ext4, 'dm.thinpooldev': pool })
    await driver.create('base')
    await driver.cleanup()
    const other = thinPlace()
    await expect(other.open({ 'dm.thinpooldev': pool })).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    await other[Symbol.asyncDispose]()
    await expect(place.open({ 'dm.thinpooldev': 'another' })).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    await run('dmsetup', ['remove', '--retry', 'given'])
    await givenPool()
    await expect(place.open({})).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
    await run('dmsetup', ['remove', '--retry', 'given'])
    rmSync(join(place.root, 'devicemapper'), { recursive: true })
  })

  it('makes a pool on a block device, finds it again, and grows with it', async () => {
    const { path, minor } = device(256)
    const options = { ...SMALL.ext4, 'dm.directlvm_device': path }
    const driver = await place.open(options)
    await driver.create('base')
    const { fs } = await driver.get('base')
    await fs.writeFile('/hello', 'hello')
    await driver.put('base')
    await driver.cleanup()
    expect((await run('dmsetup', ['ls'])).toString()).toContain('No devices found')
    truncateSync(join(base, 'file-0'), 512 * MEBIBYTE)
    await run('losetup', ['--set-capacity', `/dev/loop${minor}`])
    const again = await place.open({})
    const view = await again.get('base')
    expect(await view.fs.readFile('/hello', 'utf8')).toBe('hello')
    await again.put('base')
    expect(Object.fromEntries(await again.status())['Data Space Total']).toBe('534.8MB')
  })

  it('formats nothing that holds data, unless it is told to', async () => {
    const { path, fd } = device(256)
    for (const at of [0, 256 * MEBIBYTE - 4096]) {
      writeSync(fd, 'somebody’s data', at)
      await expect(place.open({ 'dm.directlvm_device': path })).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
        hint: expect.stringContaining('dm.directlvm_device_force'),
      })
      const start = Buffer.alloc(8)
      readSync(fd, start, 0, 8, at)
      expect(start.toString()).toBe('somebody')
      writeSync(fd, Buffer.alloc(64), 0, 64, at)
    }
    writeSync(fd, 'somebody’s data', 0)
    const driver = await place.open({
      ...SMALL.ext4,
      'dm.directlvm_device': path,
      'dm.directlvm_device_force': true,
    })
    await driver.create('base')
  })

  it('refuses a device that is in use, or is none', async () => {
    const { path } = device(64)
    await run('mkfs.ext4', ['-q', path])
    const mounted = join(base, 'mounted')
    mkdirSync(mounted)
    await run('mount', [path, mounted])
    const force = { 'dm.directlvm_device_force': true }
    await expect(place.open({ 'dm.directlvm_device': path, ...force })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringContaining('in use'),
    })
    await run('umount', [mounted])
    for (const wrong of [base, join(base, 'missing')]) {
      await expect(place.open({ 'dm.directlvm_device': wrong, ...force })).rejects.toMatchObject({
        code: 'ENGINE_UNSUPPORTED',
      })
    }
  })

  it('knows its device by what is on it', async () => {
    const { path, fd } = device(256)
    const driver = await place.open({ ...SMALL.ext4, 'dm.directlvm_device': path })
    await driver.create('base')
    await driver.cleanup()
    const start = Buffer.alloc(4096)
    readSync(fd, start, 0, 4096, 0)
    writeSync(fd, Buffer.alloc(4096, 7), 0, 4096, 0)
    await expect(place.open({})).rejects.toMatchObject({ code: 'STORE_FOREIGN', path })
    writeSync(fd, start, 0, 4096, 0)
    const again = await place.open({})
    expect(await again.list()).toEqual(['base'])
  })
})
