/** @module-tag every-identity */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { btrfs } from '#layerstack/drivers/btrfs/index.js'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { seal } from '#layerstack/thin/format.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { noBtrfs } from './btrfs-fixture.js'
import { write } from './userspace-fixture.js'

const noJudge = notInstalled('thin_check')
const checksum = await loadChecksum()
const SMALL = { 'dm.basesize': '64M', 'dm.loopdatasize': '128M', 'dm.loopmetadatasize': '4M' }
const POOL = 'btrfs/layers.cow'
const METADATA = 'devicemapper/devicemapper/metadata'
const DATA = 'devicemapper/devicemapper/data'
const RECORD = 'devicemapper/metadata/second'
const engines = {
  btrfs: { factory: btrfs, driverOptions: {} },
  devicemapper: { factory: devicemapper, driverOptions: SMALL },
}

let scratch: string
let root: string
let opened: Driver[]

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-input-'))
  opened = []
  for (const name of ['btrfs', 'devicemapper'] as const) {
    root = join(scratch, name)
    mkdirSync(root)
    const driver = await open(name)
    await driver.create('first')
    await write(driver, 'first', '/file', Buffer.from('first'))
    await driver.create('second', 'first')
    await write(driver, 'second', '/large', Buffer.alloc(3 << 20, 'second'))
    await driver.cleanup()
  }
})

beforeEach(() => {
  opened = []
  root = join(scratch, 'root')
})

afterEach(async () => {
  for (const driver of opened) await driver.cleanup()
  rmSync(root, { recursive: true, force: true })
})

afterAll(() => rmSync(scratch, { recursive: true, force: true }))

type Name = keyof typeof engines
type Case = readonly [what: string, name: Name, code: string, path: string, damage: (path: string) => void]

/** Damage that prevents a root from opening for changes. */
const refused: readonly Case[] = [
  ['with another version in both superblocks', 'btrfs', 'STORE_FOREIGN', POOL, laterVersion(0, 8192)],
  ['with another version in the first superblock', 'btrfs', 'STORE_FOREIGN', POOL, laterVersion(0, 4096)],
  ['with another version in the second superblock', 'btrfs', 'STORE_FOREIGN', POOL, laterVersion(4096, 8192)],
  ['that is foreign', 'btrfs', 'STORE_FOREIGN', POOL, foreign],
  ['that is foreign and small', 'btrfs', 'STORE_FOREIGN', POOL, (path) => writeFileSync(path, 'foreign')],
  ['that is a directory', 'btrfs', 'STORE_FOREIGN', POOL, directory],
  ['full of zeros', 'btrfs', 'STORE_CORRUPT', POOL, (path) => writeFileSync(path, Buffer.alloc(3 << 20))],
  ['of one byte', 'btrfs', 'STORE_FOREIGN', POOL, (path) => writeFileSync(path, 'x')],
  ['of one zero byte', 'btrfs', 'STORE_CORRUPT', POOL, (path) => writeFileSync(path, '\0')],
  cut('btrfs', 'STORE_FOREIGN', POOL, 20),
  ...[0, 511, 512, 4096, 4097, 8191, 8192, 20_000].map((size) => cut('btrfs', 'STORE_CORRUPT', POOL, size)),
  ['with another version', 'devicemapper', 'STORE_FOREIGN', METADATA, superblock(40, 3)],
  ['with an unknown incompatible feature', 'devicemapper', 'STORE_FOREIGN', METADATA, superblock(360, 1)],
  ['that is foreign', 'devicemapper', 'STORE_FOREIGN', METADATA, foreign],
  ['that is a directory', 'devicemapper', 'STORE_FOREIGN', METADATA, directory],
  ['with a damaged superblock', 'devicemapper', 'STORE_CORRUPT', METADATA, flipped],
  ['that is missing', 'devicemapper', 'STORE_CORRUPT', METADATA, (path) => rmSync(path)],
  ['of one byte', 'devicemapper', 'STORE_FOREIGN', METADATA, (path) => writeFileSync(path, 'x')],
  ['of one zero byte', 'devicemapper', 'STORE_CORRUPT', METADATA, (path) => writeFileSync(path, '\0')],
  cut('devicemapper', 'STORE_FOREIGN', METADATA, 35),
  ...[0, 100, 511, 4096, 20_480].map((size) => cut('devicemapper', 'STORE_CORRUPT', METADATA, size)),
  ['that is a directory', 'devicemapper', 'STORE_FOREIGN', DATA, directory],
  ['that is missing', 'devicemapper', 'STORE_CORRUPT', DATA, (path) => rmSync(path)],
  cut('devicemapper', 'STORE_CORRUPT', DATA, 0),
]

/** Damage that affects one layer only. */
const suffered: readonly Case[] = [
  ...[65_536 * 3, 1 << 20, 3 << 20].map((size) => cut('devicemapper', 'STORE_CORRUPT', DATA, size)),
  ['that names a missing device', 'devicemapper', 'STORE_CORRUPT', RECORD, record({ device_id: 4711 })],
  ['that is torn', 'devicemapper', 'STORE_CORRUPT', RECORD, (path) => truncateSync(path, 9)],
  cut('devicemapper', 'STORE_CORRUPT', RECORD, 0),
]

describe('a file of a userspace root', () => {
  it.each(refused)(
    '%s makes %s fail with %s for %s and change nothing',
    async (_what, name, code, path, damage) => {
      given(name)
      damage(join(root, path))
      const before = filesOf(root)
      const error: unknown = await open(name).catch((reason: unknown) => reason)
      expect(error).toMatchObject({
        name: 'StoreError',
        code,
        hint: expect.any(String),
        path: join(root, path),
      })
      expect(causeOf(error)).toMatch(/\w/)
      const reader = await open(name, { readOnly: true })
      await expect(read(reader, 'second', '/large')).rejects.toMatchObject({ code, hint: expect.any(String) })
      await reader.cleanup()
      expect(filesOf(root)).toEqual(before)
    },
  )

  it.each(suffered)(
    '%s makes %s fail with %s for one layer only, from %s',
    async (_what, name, code, path, damage) => {
      given(name)
      damage(join(root, path))
      const before = filesOf(root)
      const driver = await open(name)
      expect((await driver.list()).toSorted()).toEqual(['first', 'second'])
      await expect(read(driver, 'second', '/large')).rejects.toMatchObject({ code, hint: expect.any(String) })
      expect(await read(driver, 'first', '/file')).toBe('first')
      expect(await driver.check?.()).toMatchObject([{ layer: 'second' }])
      expect(filesOf(root)).toEqual(before)
      await driver.remove('second')
      await driver.create('second', 'first')
      expect(await read(driver, 'second', '/file')).toBe('first')
      expect(await driver.check?.()).toEqual([])
      await driver.cleanup()
      if (noJudge === undefined) await run('thin_check', [join(root, METADATA)])
    },
  )

  it('with pool metadata, if truncated, allows reads, prevents changes and fails a check', async () => {
    given('devicemapper')
    truncateSync(join(root, METADATA), 65_536)
    const driver = await open('devicemapper')
    expect(await read(driver, 'second', '/file')).toBe('first')
    const corrupt = { code: 'STORE_CORRUPT', hint: expect.any(String), cause: expect.any(Error) }
    const before = filesOf(root, METADATA, DATA)
    await expect(driver.create('third', 'second')).rejects.toMatchObject(corrupt)
    await expect(driver.remove('second')).rejects.toMatchObject(corrupt)
    expect((await driver.list()).toSorted()).toEqual(['first', 'second'])
    expect(await driver.check?.()).toMatchObject([{ path: join(root, METADATA) }])
    await driver.cleanup()
    expect(filesOf(root, METADATA, DATA)).toEqual(before)
    expect(await read(await open('devicemapper'), 'second', '/file')).toBe('first')
  })

  it('with pool metadata, if empty, is not recreated while the data file exists, even without device records', async () => {
    given('devicemapper')
    truncateSync(join(root, METADATA))
    rmSync(join(root, 'devicemapper/metadata'), { recursive: true })
    const before = filesOf(root)
    const lost = { code: 'STORE_CORRUPT', path: join(root, METADATA), hint: expect.any(String) }
    await expect(open('devicemapper')).rejects.toMatchObject(lost)
    expect(filesOf(root)).toEqual(before)
  })

  it.each(['base', 'deviceset-metadata', 'transaction-metadata'])(
    'named %s may be torn, missing or wrong without loss of layers',
    async (file) => {
      for (const damage of [
        (path: string) => truncateSync(path, 4),
        (path: string) => rmSync(path),
        record({ device_id: 4711 }),
      ]) {
        given('devicemapper')
        damage(join(root, 'devicemapper/metadata', file))
        const driver = await open('devicemapper', { engine: 'auto' })
        expect(await read(driver, 'second', '/file')).toBe('first')
        await driver.create('third')
        await write(driver, 'third', '/file', Buffer.from('third'))
        await driver.cleanup()
        const again = await open('devicemapper', { engine: 'auto' })
        expect((await again.list()).toSorted()).toEqual(['first', 'second', 'third'])
        expect(await again.check?.()).toEqual([])
        await again.cleanup()
        rmSync(root, { recursive: true })
      }
    },
  )
})

describe.each(['btrfs', 'devicemapper'] as const)('%s on the userspace engine', (name) => {
  it.each([overlay2, vfs])('leaves the layers of $name in the same root unchanged', async (factory) => {
    mkdirSync(root)
    const theirs = await factory.open({ root, engine: 'userspace', readOnly: false })
    opened.push(theirs)
    await theirs.create('first')
    await write(theirs, 'first', '/file', Buffer.from('theirs'))
    const before = filesOf(join(root, factory.name))
    const driver = await open(name)
    expect(await driver.list()).toEqual([])
    await driver.create('first')
    await write(driver, 'first', '/file', Buffer.from('ours'))
    await driver.remove('first')
    expect(filesOf(join(root, factory.name))).toEqual(before)
    expect(await read(theirs, 'first', '/file')).toBe('theirs')
  })

  it('has a root that the kernel engine refuses', async () => {
    given(name)
    const before = filesOf(root)
    await expect(open(name, { engine: 'kernel' })).rejects.toMatchObject({
      code: 'ENGINE_UNSUPPORTED',
      message: expect.stringContaining('userspace'),
      hint: expect.any(String),
    })
    expect(filesOf(root)).toEqual(before)
  })
})

describe('btrfs on the userspace engine', () => {
  it('refuses a root of the kernel engine', unless(noBtrfs), async () => {
    mkdirSync(root)
    const theirs = await open('btrfs', { engine: 'kernel', driverOptions: { loopback: { size: '256M' } } })
    await theirs.create('first')
    await theirs.cleanup()
    const before = filesOf(root)
    const refusal = { code: 'ENGINE_UNSUPPORTED', message: expect.stringContaining('kernel') }
    await expect(open('btrfs')).rejects.toMatchObject(refusal)
    expect(filesOf(root)).toEqual(before)
  })
})

describe.each(['btrfs', 'devicemapper'] as const)(
  '%s on the userspace engine, on a full disk',
  unless(noMounts),
  (name) => {
    beforeEach(async () => {
      mkdirSync(root)
      await run('mount', ['-t', 'tmpfs', '-o', 'size=8M', 'layerstack-test', root])
    })
    afterEach(() => unmountBelow(root))

    it('fails to create a root with NO_SPACE, and creates it once space is free', async () => {
      const filler = join(root, 'filler')
      for (const left of [0, 4096, 16_384, 65_536]) {
        writeFileSync(filler, '')
        await run('sh', ['-c', `cat /dev/zero > ${filler} 2>/dev/null || truncate -s -${left} ${filler}`])
        const error: unknown = await open(name).catch((reason: unknown) => reason)
        expect(error, `${left} left`).toMatchObject({ code: 'NO_SPACE', hint: expect.any(String) })
        expect(causeOf(error)).toMatch(/ENOSPC/)
      }
      rmSync(filler)
      const driver = await open(name)
      await driver.create('first')
      await write(driver, 'first', '/file', Buffer.from('first'))
      expect(await driver.check?.()).toEqual([])
      await driver.cleanup()
    })
  },
)

function given(name: Name): void {
  cpSync(join(scratch, name), root, { recursive: true })
}

async function open(
  name: Name,
  options: {
    engine?: 'kernel' | 'userspace' | 'auto'
    readOnly?: boolean
    driverOptions?: Record<string, unknown>
  } = {},
): Promise<Driver> {
  const { factory, driverOptions } = engines[name]
  const driver = await factory.open({ root, engine: 'userspace', readOnly: false, driverOptions, ...options })
  opened.push(driver)
  return driver
}

async function read(driver: Driver, id: string, path: string): Promise<string> {
  const { fs } = await driver.get(id)
  try {
    return await fs.readFile(path, 'utf8')
  } finally {
    await driver.put(id)
  }
}

/** Returns the message of the error's cause, or of the error itself if it has no cause. */
function causeOf(error: unknown): string {
  const { cause, message } = error as Error
  return cause === undefined ? message : (cause as Error).message
}

function filesOf(below: string, ...only: readonly string[]): Map<string, string> {
  const files = new Map<string, string>()
  for (const entry of readdirSync(below, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const name = relative(below, path)
    if (only.length > 0 && !only.includes(name)) continue
    // Every driver that opens the root changes its lock and hold files.
    if (entry.isFile() && !/lock|holds|\.next$/.test(name)) files.set(name, readFileSync(path, 'latin1'))
  }
  return files
}

function cut(name: Name, code: string, path: string, size: number): Case {
  return [`truncated to ${size} bytes`, name, code, path, (file) => truncateSync(file, size)]
}

function foreign(path: string): void {
  writeFileSync(path, Buffer.alloc(3 << 20, 'foreign'))
}

function directory(path: string): void {
  rmSync(path)
  mkdirSync(path)
}

function flipped(path: string): void {
  const bytes = readFileSync(path)
  bytes[100] = ~(bytes[100] as number) & 0xff
  writeFileSync(path, bytes)
}

function laterVersion(start: number, end: number): (path: string) => void {
  return (path) => {
    const bytes = readFileSync(path)
    for (let at = start; at < end; at += 512) {
      bytes.writeUInt32LE(2, at + 24)
      bytes.writeBigUInt64LE(checksum(bytes.subarray(at + 8, at + 512)), at)
    }
    writeFileSync(path, bytes)
  }
}

function superblock(at: number, value: number): (path: string) => void {
  return (path) => {
    const bytes = readFileSync(path)
    bytes.writeUInt32LE(value, at)
    seal(bytes.subarray(0, 4096), 0, 'superblock')
    writeFileSync(path, bytes)
  }
}

function record(fields: Record<string, unknown>): (path: string) => void {
  return (path) =>
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...fields }))
}
