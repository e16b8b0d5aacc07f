/** @module-tag device-mapper */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '#layerstack/drivers/driver.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { noThinPools, SMALL, thinFixture, type ThinFixture } from './thin-fixture.js'

const MEBIBYTE = 1 << 20

/** Other files test layer sizes, dm.min_free_space, dm.thinpooldev, dm.directlvm_device and udev. */
describe('devicemapper options', unless(noThinPools), () => {
  let fixture: ThinFixture
  let driver: Driver

  beforeEach(() => {
    fixture = thinFixture()
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  const row = async (key: string): Promise<string | undefined> =>
    Object.fromEntries(await driver.status())[key]

  /** Passes the mount options and the source device of a layer, from /proc/self/mountinfo. */
  async function mounted<T>(id: string, look: (options: string, device: string) => T): Promise<T> {
    const { hostPath = '' } = await driver.get(id)
    try {
      const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
      const fields = lines.map((line) => line.split(' ')).find(([, , , , at]) => at === join(hostPath, '..'))
      return await look(`${fields?.[5]},${fields?.at(-1)}`, fields?.at(-2) ?? '')
    } finally {
      await driver.put(id)
    }
  }

  it('dm.fs and dm.mkfsarg set the file system of the base device and the arguments of mkfs', async () => {
    for (const [type, label] of [
      ['ext4', ['-L', 'of-the-test']],
      ['xfs', '--unsupported -L of-the-test'],
    ] as const) {
      await using own = thinFixture()
      driver = await own.open({ ...SMALL[type], 'dm.mkfsarg': label })
      await driver.create('base')
      expect(await row('Backing Filesystem')).toBe(type)
      const said = await mounted('base', async (_, device) => run('blkid', ['-p', '-o', 'export', device]))
      expect(said.toString()).toContain(`LABEL=of-the-test`)
      expect(said.toString()).toContain(`TYPE=${type}`)
    }
  })

  it('dm.mountopt sets the mount options of layers', async () => {
    driver = await fixture.open({ ...SMALL.ext4, 'dm.mountopt': 'noatime,nodev,data=journal' })
    await driver.create('base')
    const options = (await mounted('base', (words) => words)).split(',')
    expect(options).toEqual(expect.arrayContaining(['noatime', 'nodev', 'data=journal']))
    await expect(
      fixture.open({ 'dm.mountopt': 'flavour=mint' }).then((other) => other.get('base')),
    ).rejects.toMatchObject({
      code: 'SYSTEM',
    })
  })

  it('dm.blocksize sets the block size of a new pool and does not change an existing one', async () => {
    driver = await fixture.open({ ...SMALL.ext4, 'dm.blocksize': '1M' })
    expect(await row('Pool Blocksize')).toBe('1.049MB')
    await driver.cleanup()
    driver = await fixture.open({ 'dm.blocksize': '64K' })
    expect(await row('Pool Blocksize'), 'of an existing pool').toBe('1.049MB')
  })

  it('dm.loopmetadatasize sets the space for metadata and grows it while the pool is in use', async () => {
    driver = await fixture.open({ ...SMALL.ext4, 'dm.loopmetadatasize': '8M' })
    expect(await row('Metadata Space Total')).toBe('8.389MB')
    await driver.create('base')
    await driver.get('base')
    const other = await fixture.open({ 'dm.loopmetadatasize': '16M' })
    expect(await row('Metadata Space Total')).toBe('16.78MB')
    await driver.put('base')
    await driver.cleanup()
    await other.cleanup()
    driver = await fixture.open({ 'dm.loopmetadatasize': '32M' })
    expect(await row('Metadata Space Total')).toBe('33.55MB')
  })

  it('dm.blkdiscard returns the space of a removed layer to the host', async () => {
    const data = join(fixture.root, 'devicemapper/devicemapper/data')
    const room = (): number => statSync(data).blocks * 512
    for (const discards of [false, true]) {
      driver = await fixture.open({ ...SMALL.ext4, 'dm.blkdiscard': discards })
      await driver.createReadWrite('big')
      const before = room()
      const { fs } = await driver.get('big')
      await fs.writeFile('/big', Buffer.alloc(16 * MEBIBYTE, 1))
      await driver.put('big')
      const grown = room() - before
      await driver.remove('big')
      if (discards) expect(room() - before).toBeLessThan(2 * MEBIBYTE)
      else expect(grown).toBeGreaterThan(15 * MEBIBYTE)
      if (!discards) expect(room() - before).toBe(grown)
      await driver.cleanup()
    }
  })

  it('dm.use_deferred_deletion=false refuses to remove a layer that another process uses', async () => {
    driver = await fixture.open({ ...SMALL.ext4, 'dm.use_deferred_deletion': false })
    expect(await row('Deferred Removal Enabled')).toBe('true')
    expect(await row('Deferred Deletion Enabled')).toBe('false')
    await driver.create('busy')
    const { hostPath = '' } = await driver.get('busy')
    const held = spawn('sleep', ['100'], { cwd: hostPath })
    await once(held, 'spawn')
    await driver.put('busy')
    await expect(driver.remove('busy')).rejects.toMatchObject({
      code: 'LAYER_IN_USE',
      hint: expect.stringContaining('lsblk'),
    })
    expect(await driver.list()).toEqual(['busy'])
    held.kill('SIGKILL')
    await once(held, 'exit')
    await driver.remove('busy')
    expect(await driver.list()).toEqual([])
  })

  it('dm.xfs_nospace_max_retries sets how often XFS retries after ENOSPC', async () => {
    driver = await fixture.open({ ...SMALL.xfs, 'dm.xfs_nospace_max_retries': 3 })
    await driver.create('base')
    const retries = await mounted('base', (_, device) =>
      readFileSync(`/sys/fs/xfs/${basename(device)}/error/metadata/ENOSPC/max_retries`, 'utf8'),
    )
    expect(retries).toBe('3\n')
  })
})
