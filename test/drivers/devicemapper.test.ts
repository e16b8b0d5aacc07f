/** @module-tag device-mapper */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { sendDmMessage } from '#layerstack/sys/dm.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { mountsBelow } from '../support/mounts.js'
import { noThinPools, SMALL, thinIds, thinFixture, type ThinFixture } from './thin-fixture.js'

const MEBIBYTE = 1 << 20

describe('devicemapper on the kernel engine', unless(noThinPools), () => {
  let fixture: ThinFixture
  let root: string
  let driver: Driver

  beforeEach(async () => {
    fixture = thinFixture()
    ;({ root } = fixture)
    driver = await fixture.open()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  async function write(id: string, path: string, content: string | Uint8Array): Promise<void> {
    const { fs } = await driver.get(id)
    await fs.writeFile(path, content)
    await driver.put(id)
  }

  async function read(id: string, path: string): Promise<string> {
    const { fs } = await driver.get(id)
    try {
      return await fs.readFile(path, 'utf8')
    } finally {
      await driver.put(id)
    }
  }

  const file = (name: string): string => join(root, 'devicemapper/metadata', name)
  const json = (name: string): Record<string, unknown> => JSON.parse(readFileSync(file(name), 'utf8'))
  const row = async (key: string): Promise<string> =>
    (await driver.status()).find(([name]) => name === key)?.[1] ?? ''
  const poolName = (): Promise<string> => row('Pool Name')
  /** Returns the pool's transaction id and used data blocks, from the kernel. */
  const pool = async (): Promise<{ transaction: number; used: number }> => {
    const status = (await run('dmsetup', ['status', await poolName()])).toString().split(' ')
    return { transaction: Number(status[3]), used: Number(status[5]?.split('/')[0]) }
  }
  const idsInPool = async (): Promise<number[]> => {
    await driver.cleanup()
    const ids = await thinIds(root)
    driver = await fixture.open()
    return ids
  }

  it('uses the files, records and device names of Docker', async () => {
    await driver.create('a'.repeat(64))
    await driver.createReadWrite('c', 'a'.repeat(64))
    await write('c', '/hello', 'hello')
    const { dev, ino } = statSync(join(root, 'devicemapper'))
    const prefix = `docker-${dev >> 8}:${dev & 0xff}-${ino}`
    expect(await poolName()).toBe(`${prefix}-pool`)
    expect(json('base')).toEqual({
      device_id: 1,
      size: 48 * MEBIBYTE,
      transaction_id: 1,
      initialized: true,
      deleted: false,
    })
    expect(json('c')).toEqual({
      device_id: 3,
      size: 48 * MEBIBYTE,
      transaction_id: 3,
      initialized: false,
      deleted: false,
    })
    expect(json('transaction-metadata')).toEqual({ open_transaction_id: 3, device_hash: 'c', device_id: 3 })
    expect(json('deviceset-metadata')).toEqual({
      next_device_id: 1,
      BaseDeviceUUID: expect.stringMatching(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/),
      BaseDeviceFilesystem: 'ext4',
    })
    expect((await pool()).transaction).toBe(3)
    const { hostPath = '' } = await driver.get('c')
    expect(hostPath).toBe(join(root, 'devicemapper/mnt/c/rootfs'))
    expect(readFileSync(join(hostPath, '../id'), 'utf8')).toBe('c')
    expect(await driver.metadata('c')).toEqual({
      DeviceId: '3',
      DeviceSize: String(48 * MEBIBYTE),
      DeviceName: `${prefix}-c`,
    })
    await driver.put('c')
    expect(readdirSync(join(root, 'devicemapper/mnt'))).toEqual([])
    await driver.cleanup()
    expect(json('deviceset-metadata')).toMatchObject({ next_device_id: 3 })
    expect((await run('dmsetup', ['ls'])).toString()).toContain('No devices found')
  })

  it('reports the status rows of docker info', async () => {
    const rows = Object.fromEntries(await driver.status())
    expect(rows).toMatchObject({
      'Pool Blocksize': '65.54kB',
      'Base Device Size': '50.33MB',
      'Backing Filesystem': 'ext4',
      'Data loop file': join(root, 'devicemapper/devicemapper/data'),
      'Metadata loop file': join(root, 'devicemapper/devicemapper/metadata'),
      'Data Space Total': '107.4GB',
      'Metadata Space Total': '2.147GB',
      'Thin Pool Minimum Free Space': '10.74GB',
      'Deferred Removal Enabled': 'true',
      'Deferred Deletion Enabled': 'true',
      'Deferred Deleted Device Count': '0',
    })
    expect(rows['Data file']).toMatch(/^\/dev\/loop\d+$/)
  })

  describe('after a crash while it creates a layer', () => {
    const cuts = [
      'the start of the transaction',
      'the creation of the thin device',
      'the write of the record',
    ] as const

    it.each(cuts)('discards the layer left after %s, and reuses its device number', async (cut) => {
      await driver.create('base')
      await write('base', '/kept', 'kept')
      const { transaction } = await pool()
      writeFileSync(
        file('transaction-metadata'),
        JSON.stringify({ open_transaction_id: transaction + 1, device_hash: 'half', device_id: 77 }),
      )
      if (cut !== cuts[0]) sendDmMessage(await poolNameByHand(), 'create_snap 77 2')
      if (cut === cuts[2]) {
        writeFileSync(file('half'), JSON.stringify({ ...json('base'), device_id: 77, initialized: false }))
      }
      driver = await fixture.open()
      expect(await driver.list()).toEqual(['base'])
      expect(await read('base', '/kept')).toBe('kept')
      await driver.createReadWrite('half', 'base')
      expect(await read('half', '/kept')).toBe('kept')
      expect(await idsInPool()).toEqual([1, 2, 3])
    })

    /** Asks dmsetup, since any call to the driver starts its recovery. */
    const poolNameByHand = async (): Promise<string> =>
      (await run('dmsetup', ['ls', '--target', 'thin-pool'])).toString().split(/\s/)[0] ?? ''

    it('keeps a layer whose device number the unfinished transaction names', async () => {
      await driver.create('base')
      await write('base', '/kept', 'kept')
      const { transaction } = await pool()
      writeFileSync(
        file('transaction-metadata'),
        JSON.stringify({ open_transaction_id: transaction + 1, device_hash: 'half', device_id: 2 }),
      )
      driver = await fixture.open()
      expect(await driver.list()).toEqual(['base'])
      expect(await read('base', '/kept')).toBe('kept')
    })

    it('keeps a layer whose transaction the pool has committed', async () => {
      await driver.create('base')
      await driver.create('whole', 'base')
      driver = await fixture.open()
      expect((await driver.list()).toSorted()).toEqual(['base', 'whole'])
    })
  })

  it('deletes a layer that its record marks as deleted, at open', async () => {
    await driver.create('base')
    await driver.create('gone', 'base')
    await driver.cleanup()
    writeFileSync(file('gone'), JSON.stringify({ ...json('gone'), deleted: true }))
    driver = await fixture.open()
    expect(await driver.list()).toEqual(['base'])
    expect(existsSync(file('gone'))).toBe(false)
    expect(await idsInPool()).toEqual([1, 2])
  })

  it('recreates a base device that a crash left without a file system', async () => {
    await driver.cleanup()
    writeFileSync(file('base'), JSON.stringify({ ...json('base'), initialized: false }))
    driver = await fixture.open()
    await driver.create('layer')
    await write('layer', '/hello', 'hello')
    expect(await idsInPool()).toEqual([2, 3])
  })

  it('removes the mounts of a killed process at open, and all devices at cleanup', async () => {
    await driver.create('base')
    await driver.cleanup()
    const worker = spawn(process.execPath, [resolve(import.meta.dirname, 'thin-holder.mjs'), root, 'base'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: resolve(import.meta.dirname, '../..'),
    })
    await once(worker.stdout, 'data')
    worker.kill('SIGKILL')
    await once(worker, 'exit')
    expect(mountsBelow(root)).toHaveLength(1)
    driver = await fixture.open()
    expect(mountsBelow(root)).toHaveLength(0)
    await driver.cleanup()
    expect((await run('dmsetup', ['ls'])).toString()).toContain('No devices found')
  })

  it('returns the space of a removed layer to the host', async () => {
    const data = join(root, 'devicemapper/devicemapper/data')
    await driver.create('base')
    await write('base', '/start', 'x')
    const before = await pool()
    const blocks = statSync(data).blocks
    await driver.createReadWrite('big', 'base')
    await write('big', '/big', Buffer.alloc(20 * MEBIBYTE, 1))
    expect((statSync(data).blocks - blocks) * 512).toBeGreaterThan(19 * MEBIBYTE)
    await driver.remove('big')
    expect((await pool()).used).toBe(before.used)
    expect((statSync(data).blocks - blocks) * 512).toBeLessThan(2 * MEBIBYTE)
  })

  it('copies only the written blocks of a large file', async () => {
    await driver.create('base')
    await write('base', '/big', Buffer.alloc(20 * MEBIBYTE, 1))
    await driver.createReadWrite('c', 'base')
    const before = await pool()
    const { fs } = await driver.get('c')
    const handle = await fs.open('/big', 'r+')
    await handle.write(Buffer.alloc(MEBIBYTE, 2), 0, MEBIBYTE, 10 * MEBIBYTE)
    await handle.close()
    await driver.put('c')
    const blocks = (await pool()).used - before.used
    expect(blocks).toBeGreaterThanOrEqual(16)
    expect(blocks).toBeLessThan(60)
  })

  it('snapshots a layer that is open for writing', async () => {
    await driver.create('base')
    const { fs } = await driver.get('base')
    await fs.writeFile('/written', 'before')
    await driver.create('child', 'base')
    await fs.writeFile('/written', 'after')
    await driver.put('base')
    expect(await read('child', '/written')).toBe('before')
    expect(await read('base', '/written')).toBe('after')
  })

  it('refuses to adopt a layer while a program has a file in its mount open for writing', async () => {
    await driver.createReadWrite('container')
    const { hostPath } = await driver.get('container')
    const held = openSync(join(hostPath as string, 'file'), 'w')
    await driver.put('container')
    const isInUse = { code: 'LAYER_IN_USE' }
    await expect(driver.quiesce?.('container')).rejects.toMatchObject(isInUse)
    await expect(driver.adopt?.('container', 'layer')).rejects.toMatchObject(isInUse)
    writeSync(held, 'late')
    closeSync(held)
    await driver.quiesce?.('container')
    expect(mountsBelow(root)).toEqual([])
    await driver.adopt?.('container', 'layer')
    expect(await read('layer', '/file')).toBe('late')
  })

  it('defers the deletion of a removed layer until no process uses it', async () => {
    await driver.create('base')
    await driver.createReadWrite('busy', 'base')
    await write('busy', '/open', 'open')
    const { hostPath = '' } = await driver.get('busy')
    const held = spawn('sleep', ['100'], { cwd: hostPath })
    await once(held, 'spawn')
    await driver.put('busy')
    await driver.remove('busy')
    expect(await driver.list()).toEqual(['base'])
    expect(await row('Deferred Deleted Device Count')).toBe('1')
    held.kill('SIGKILL')
    await once(held, 'exit')
    await driver.cleanup()
    driver = await fixture.open()
    expect(await row('Deferred Deleted Device Count')).toBe('0')
    expect(await idsInPool()).toEqual([1, 2])
  })

  it('without deferred removal, refuses to remove a layer in use and keeps it', async () => {
    await driver.cleanup()
    driver = await fixture.open({ ...SMALL.ext4, 'dm.use_deferred_removal': false })
    await driver.create('base')
    const { hostPath = '' } = await driver.get('base')
    const held = spawn('sleep', ['100'], { cwd: hostPath })
    await once(held, 'spawn')
    await expect(driver.put('base')).rejects.toMatchObject({ code: 'LAYER_IN_USE', hint: expect.any(String) })
    await expect(driver.remove('base')).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
    held.kill('SIGKILL')
    await once(held, 'exit')
    expect(await driver.list()).toEqual(['base'])
    await driver.remove('base')
    expect(await driver.list()).toEqual([])
  })

  it('creates a layer of the requested size and refuses one smaller than its parent', async () => {
    await driver.create('base')
    await driver.createReadWrite('large', 'base', { storageOptions: { size: '96M' } })
    await write('large', '/big', Buffer.alloc(60 * MEBIBYTE, 1))
    await expect(
      driver.createReadWrite('small', 'large', { storageOptions: { size: '64M' } }),
    ).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED', hint: expect.stringContaining('dm.basesize') })
    expect((await driver.list()).toSorted()).toEqual(['base', 'large'])
  })

  it('creates larger layers once dm.basesize grows, and refuses a smaller dm.basesize', async () => {
    await driver.create('before')
    await driver.cleanup()
    driver = await fixture.open({ 'dm.basesize': '96M' })
    await driver.create('after')
    await write('after', '/big', Buffer.alloc(60 * MEBIBYTE, 1))
    expect(await driver.metadata('before')).toMatchObject({ DeviceSize: String(48 * MEBIBYTE) })
    await driver.cleanup()
    await expect(fixture.open({ 'dm.basesize': '64M' })).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
  })

  it('opens a root read-only without writing to it', async () => {
    const own = thinFixture()
    const files = { 'dm.loopdatasize': '200M', 'dm.loopmetadatasize': '8M' }
    driver = await own.open({ ...SMALL.ext4, ...files })
    await driver.create('base')
    await write('base', '/hello', 'hello')
    await driver.cleanup()
    const sum = (): string =>
      execFileSync('sh', ['-c', 'find . -type f | sort | xargs sha256sum'], { cwd: own.root }).toString()
    const before = sum()
    const reader = await devicemapper.open({ root: own.root, engine: 'auto', readOnly: true })
    const ownPool = (await reader.status())[0]?.[1]
    const { fs } = await reader.get('base')
    expect(await fs.readFile('/hello', 'utf8')).toBe('hello')
    await expect(fs.writeFile('/hello', '')).rejects.toMatchObject({ code: 'EROFS' })
    await expect(reader.create('more')).rejects.toMatchObject({ code: 'STORE_READ_ONLY' })
    await reader.put('base')
    await reader.cleanup()
    expect(sum()).toBe(before)
    expect((await run('dmsetup', ['ls'])).toString()).not.toContain(ownPool)
    await own[Symbol.asyncDispose]()
  })

  it('lists the changes between two trees, even of one byte in a file of the same size and mtime', async () => {
    const time = new Date('2001-02-03T04:05:06.789Z')
    await driver.create('base')
    const below = await driver.get('base')
    for (const name of ['gone', 'kept', 'same']) await below.fs.writeFile(`/${name}`, 'a')
    await below.fs.utimes('/same', time, time)
    await driver.put('base')
    await driver.create('child', 'base')
    const { fs } = await driver.get('child')
    await fs.rm('/gone')
    await fs.writeFile('/new', 'b')
    await fs.writeFile('/same', 'b')
    await fs.utimes('/same', time, time)
    await driver.put('child')
    const changes: string[] = []
    for await (const { kind, path } of driver.changes('child', 'base')) changes.push(`${kind} ${path}`)
    expect(changes).toEqual(['delete /gone', 'add /new', 'modify /same'])
    expect(await driver.diffSize('child', 'base')).toBe(2)
    await driver.create('copy', 'base')
    await driver.applyDiff('copy', 'base', driver.diff('child', 'base'))
    for await (const change of driver.changes('copy', 'child')) expect(change).toBeUndefined()
  })

  it('writes an access list to a diff once, although XFS shows it under two names', async () => {
    await using own = thinFixture()
    driver = await own.open(SMALL.xfs)
    await driver.create('base')
    await driver.create('child', 'base')
    await write('child', '/listed', 'x')
    const list = Buffer.from(
      '0200000001000600ffffffff020007000c00000004000400ffffffff10000700ffffffff20000400ffffffff',
      'hex',
    )
    const { fs } = await driver.get('child')
    fs.syncFs.setxattr('listed' as ByteString, 'system.posix_acl_access' as ByteString, list)
    await driver.put('child')
    const tar = Buffer.concat(await driver.diff('child', 'base').toArray()).toString('latin1')
    expect(tar).toContain('system.posix_acl_access')
    expect(tar).not.toContain('SGI_ACL')
  })

  it('accepts layer ids that are file names of its layout', async () => {
    for (const id of ['base', 'deviceset-metadata', 'transaction-metadata', 'x.migrated', 'i'.repeat(200)]) {
      await driver.create(id)
      await write(id, '/id', id)
      expect(await driver.list()).toEqual([id])
      expect(await read(id, '/id')).toBe(id)
      await driver.remove(id)
    }
  })
})
