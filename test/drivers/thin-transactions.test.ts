import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import { DeviceMapperLayout } from '#layerstack/drivers/devicemapper/layout.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { ThinMetadata } from '#layerstack/thin/thin-metadata.js'
import { notInstalled } from '../support/needs.js'
import { run } from '../support/program.js'
import { UserspaceFixture, write } from './userspace-fixture.js'

const driverOptions = { 'dm.basesize': '64M', 'dm.loopdatasize': '128M', 'dm.loopmetadatasize': '4M' }
const noJudge = notInstalled('thin_check')

let fixture: UserspaceFixture
let driver: Driver

beforeEach(async () => {
  fixture = new UserspaceFixture(devicemapper)
  driver = await fixture.open({ driverOptions })
  await driver.create('base')
  await write(driver, 'base', '/file', Buffer.from('base'))
  await driver.create('other', 'base')
})

afterEach(() => fixture[Symbol.asyncDispose]())

/** Runs `work` on a copy of the root as a kill leaves it, without the data in this process's memory. */
async function killed<T>(work: (driver: Driver) => Promise<T>): Promise<T> {
  await using left = new UserspaceFixture(devicemapper)
  rmSync(left.root, { recursive: true })
  // Without flock(2), lock and hold files name this process, which is still running.
  cpSync(fixture.root, left.root, { recursive: true, filter: (path) => !/\.held$|\/holds\//.test(path) })
  const metadata = join(left.root, 'devicemapper/devicemapper/metadata')
  if (noJudge === undefined) await run('thin_check', [metadata])
  const result = await work(await left.open({ driverOptions }))
  await left.mustBeSound()
  return result
}

async function soundLayers(reopened: Driver): Promise<string[]> {
  expect(await reopened.check?.()).toEqual([])
  const ids = await reopened.list()
  for (const id of ids) {
    const { fs } = await reopened.get(id)
    expect(await fs.readFile('/file', 'utf8')).toBe('base')
    await reopened.put(id)
  }
  return ids.toSorted()
}

/**
 * Before and after each layout call of `work`, commits the pool from a view of another layer and opens the root that a
 * kill would leave. Returns the layers of each of these roots.
 */
async function interleaved(work: () => Promise<void>): Promise<string[][]> {
  const view = await driver.get('other')
  const seen: string[][] = []
  let step = 0
  const look = async (): Promise<void> => {
    await view.fs.writeFile('/written', `step ${step++}`)
    await driver.put('missing')
    seen.push(await killed(soundLayers))
  }
  const undo = (['saveTransaction', 'saveDevice', 'dropDevice', 'dropTransaction'] as const).map((name) => {
    const { [name]: call } = DeviceMapperLayout.prototype
    const before = async function (this: DeviceMapperLayout, ...args: unknown[]) {
      const isOurs = this.home.startsWith(`${fixture.root}/`)
      if (isOurs) await look()
      const result: unknown = await Reflect.apply(call, this, args)
      if (isOurs) await look()
      return result
    }
    Object.assign(DeviceMapperLayout.prototype, { [name]: before })
    return () => Object.assign(DeviceMapperLayout.prototype, { [name]: call })
  })
  try {
    await work()
  } finally {
    for (const each of undo) each()
  }
  seen.push(await killed(soundLayers))
  await driver.put('other')
  return seen
}

describe('devicemapper on the userspace engine, with the pool committed at every step', () => {
  it('creates a layer atomically, and durably once its creation resolves', async () => {
    const seen = await interleaved(() => driver.create('made', 'base'))
    expect(seen.length).toBeGreaterThan(3)
    for (const ids of seen)
      expect([
        ['base', 'other'],
        ['base', 'made', 'other'],
      ]).toContainEqual(ids)
    expect(seen.at(-1)).toEqual(['base', 'made', 'other'])
  })

  it('removes a layer atomically, and durably once its removal resolves', async () => {
    await driver.create('made', 'base')
    const seen = await interleaved(() => driver.remove('made'))
    expect(seen.length).toBeGreaterThan(3)
    for (const ids of seen)
      expect([
        ['base', 'other'],
        ['base', 'made', 'other'],
      ]).toContainEqual(ids)
    expect(seen.at(-1)).toEqual(['base', 'other'])
  })

  it('deletes the thin device of a layer whose creation fails after the pool committed it', async () => {
    const { commit } = ThinMetadata.prototype
    let fails = true
    ThinMetadata.prototype.commit = function () {
      const freed = Reflect.apply(commit, this, [])
      if (fails && this.has(4)) {
        fails = false
        throw Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
      }
      return freed
    }
    const { dropDevice } = DeviceMapperLayout.prototype
    const left: string[][] = []
    DeviceMapperLayout.prototype.dropDevice = async function (name) {
      await Reflect.apply(dropDevice, this, [name])
      if (!this.home.startsWith(`${fixture.root}/`)) return
      left.push(await killed(soundLayers))
      left.push(await killed(devicesOf))
    }
    try {
      await expect(driver.create('made', 'base')).rejects.toMatchObject({ code: 'SYSTEM' })
    } finally {
      Object.assign(ThinMetadata.prototype, { commit })
      Object.assign(DeviceMapperLayout.prototype, { dropDevice })
    }
    expect(left).toEqual([
      ['base', 'other'],
      ['1', '2', '3'],
    ])
    await driver.create('made', 'base')
    expect(await killed(soundLayers)).toEqual(['base', 'made', 'other'])
  })
})

/** Returns the numbers of the thin devices in the pool. */
async function devicesOf(reopened: Driver): Promise<string[]> {
  const row = Object.fromEntries(await reopened.status())
  const metadata = row['Metadata file'] as string
  await reopened.cleanup()
  const open = ThinMetadata.open(
    {
      name: metadata,
      capacity: Infinity,
      read: (buffer: Uint8Array, offset: number) => {
        buffer.fill(0)
        buffer.set(readFileSync(metadata).subarray(offset, offset + buffer.length))
      },
    } as never,
    { metadataBlocks: 1024, dataBlocks: 2048, blockSize: 65_536 },
    { mayMake: false },
  )
  return [1, 2, 3, 4, 5].filter((id) => open.has(id)).map(String)
}
