import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { enterDirectory } from '../support/ledger.js'
import { mountsBelow, removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { expectSoundFile, noBtrfs } from './btrfs-fixture.js'

const SIZE = 256 << 20
const BTRFS_CHECK = expect.stringContaining('btrfs check') as string

describe('btrfs with the loopback option', unless(noBtrfs), () => {
  let root: string
  const opened: Driver[] = []
  const image = (): string => join(root, 'layerstack/btrfs.img')
  const open = async (driverOptions?: object, readOnly = false): Promise<Driver> => {
    const driver = await btrfs.open({ root, engine: 'auto', readOnly, driverOptions: { ...driverOptions } })
    opened.push(driver)
    return driver
  }
  const loopback = { loopback: { size: '256M' } }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'layerstack-loopback-'))
    enterDirectory(root)
  })
  afterEach(async () => {
    for (const driver of opened.splice(0)) await driver.cleanup()
    expect(mountsBelow(root)).toEqual([])
    await expectSoundFile(root)
    await removeTree(root)
  })

  it('creates a sparse file, mounts it while the driver is open, and finds it again without the option', async () => {
    const driver = await open(loopback)
    expect(driver.engine).toBe('kernel')
    expect(await driver.status()).toContainEqual(['Loop file', image()])
    await driver.create('base')
    const { fs, hostPath } = await driver.get('base')
    expect(hostPath).toBe(join(root, 'btrfs/subvolumes/base'))
    await fs.writeFile('/file', 'kept')
    await driver.put('base')
    expect(statSync(image())).toMatchObject({ size: SIZE })
    expect(statSync(image()).blocks * 512).toBeLessThan(SIZE / 2)
    await driver.cleanup()
    expect(mountsBelow(root)).toEqual([])
    expect(await btrfs.holdsLayers(root)).toBe(true)
    const again = await open()
    expect(await again.list()).toEqual(['base'])
    expect(await (await again.get('base')).fs.readFile('/file', 'utf8')).toBe('kept')
  })

  it('stays mounted until the last driver closes', async () => {
    const first = await open(loopback)
    const second = await open()
    await first.create('base')
    await first.cleanup()
    expect(await second.exists('base')).toBe(true)
    await second.cleanup()
    expect(mountsBelow(root)).toEqual([])
  })

  it('takes over the mount of a killed process with its finished layers', async () => {
    await (await open(loopback)).cleanup()
    const child = spawn(process.execPath, [join(import.meta.dirname, 'btrfs-churner.mjs'), root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    for await (const chunk of child.stdout) {
      said += String(chunk)
      if (said.split('\n').length > 12) child.kill('SIGKILL')
    }
    await once(child, 'close').catch(() => undefined)
    expect(mountsBelow(root)).toEqual([join(root, 'btrfs')])
    const made = said.split('\n').slice(0, -1)
    const driver = await open()
    const there = await driver.list()
    expect(there).toEqual(expect.arrayContaining(made))
    for (const id of there) await driver.remove(id)
    expect(await driver.list()).toEqual([])
  })

  it('grows the file to a larger size and never shrinks it', async () => {
    await (await open(loopback)).cleanup()
    const larger = await open({ loopback: { size: '512M' } })
    expect(statSync(image()).size).toBe(2 * SIZE)
    const { free } = fileSystemOf(join(root, 'btrfs'))
    expect(free).toBeGreaterThan(BigInt(SIZE))
    await larger.cleanup()
    await open(loopback)
    expect(statSync(image()).size).toBe(2 * SIZE)
  })

  it('refuses a file that holds something else and does not format it', async () => {
    mkdirSync(join(root, 'layerstack'))
    writeFileSync(image(), 'x'.repeat(1 << 20))
    await expect(open(loopback)).rejects.toMatchObject({ code: 'STORE_CORRUPT', hint: BTRFS_CHECK })
    expect(statSync(image()).size).toBe(1 << 20)
    expect(readFileSync(image(), 'utf8')).toBe('x'.repeat(1 << 20))
    rmSync(image())
  })

  it('refuses a truncated file, keeps its size, and opens the file once it is restored', async () => {
    const driver = await open(loopback)
    await driver.create('base')
    await driver.cleanup()
    const copy = join(root, 'copy')
    await run('cp', ['--sparse=always', image(), copy])
    for (const size of [SIZE / 2, 4096, 0]) {
      truncateSync(image(), size)
      for (const options of [undefined, loopback]) {
        await expect(open(options)).rejects.toMatchObject({ code: 'STORE_CORRUPT', hint: BTRFS_CHECK })
      }
      expect(statSync(image()).size).toBe(size)
      expect(mountsBelow(root)).toEqual([])
    }
    renameSync(copy, image())
    expect(await (await open()).list()).toEqual(['base'])
  })

  it.each([
    ['mkfs.btrfs', 'mount --bind "$EMPTY" /usr/sbin', 'install btrfs-progs'],
    ['a loop device', 'mount --bind /dev/null /dev/loop-control', 'free a loop device'],
  ])('reports that %s is missing and leaves nothing mounted', async (_, hiding, hint) => {
    expect(await failureWhere(hiding)).toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      hint: expect.stringContaining(hint),
    })
    expect(mountsBelow(root)).toEqual([])
    await (await open(loopback)).create('base')
  })

  /** Returns the error of opening the driver in a process with its own mount namespace. */
  async function failureWhere(hiding: string): Promise<unknown> {
    const empty = join(root, 'empty')
    mkdirSync(empty)
    const opening = `
      import { btrfs } from '#layerstack/drivers/btrfs/index.js'
      const driverOptions = { loopback: { size: '256M' } }
      btrfs.open({ root: process.env.ROOT, engine: 'auto', readOnly: false, driverOptions }).then(
        () => console.log('{}'),
        ({ code, message, hint }) => console.log(JSON.stringify({ code, message, hint })))`
    const line = `${hiding} && exec "$NODE" --input-type=module --eval "$OPENING"`
    const env = { ...process.env, ROOT: root, EMPTY: empty, NODE: process.execPath, OPENING: opening }
    const cwd = join(import.meta.dirname, '../..')
    return JSON.parse((await run('unshare', ['--mount', 'sh', '-c', line], { cwd, env })).toString())
  }

  it('leaves no file if the size is too small for mkfs.btrfs', async () => {
    await expect(open({ loopback: { size: '1M' } })).rejects.toMatchObject({
      code: 'SYSTEM',
      message: expect.stringContaining('mkfs.btrfs'),
      hint: expect.stringContaining('loopback.size'),
    })
    expect(existsSync(image())).toBe(false)
    expect(existsSync(`${image()}.making`)).toBe(false)
  })

  it('refuses a root of the userspace engine and creates no file', async () => {
    const driver = await btrfs.open({ root, engine: 'userspace', readOnly: false })
    await driver.create('base')
    await driver.cleanup()
    await expect(open(loopback)).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
    expect(existsSync(image())).toBe(false)
  })

  it('is readable through a read-only driver only while another driver has it mounted', async () => {
    const driver = await open(loopback)
    await driver.create('base')
    const reader = await open({}, true)
    expect(await reader.list()).toEqual(['base'])
    await reader.cleanup()
    await driver.cleanup()
    await expect(open({}, true)).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' })
  })

  it.each([{}, '20G', { size: 20 }, { size: 'x' }])('rejects the value %j', async (size) => {
    await expect(open({ loopback: size })).rejects.toThrow(TypeError)
    expect(existsSync(image())).toBe(false)
  })
})
