import { cutAfter } from './cut.js'
import { closeSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'
import type { Driver } from '#layerstack/drivers/driver.js'
import { attachLoop } from '#layerstack/sys/loop.js'
import { mountsBelow } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { noThinPools, SMALL, thinIds, thinPlace, type ThinPlace } from './thin-place.js'

/** What is cut, and which lists of layers it may leave. `base` is always there. */
interface Operation {
  readonly name: string
  readonly before: readonly string[]
  readonly after: readonly string[]
  work(driver: Driver): Promise<unknown>
}

const operations: readonly Operation[] = [
  {
    name: 'making a layer',
    before: ['base'],
    after: ['base', 'new'],
    work: (driver) => driver.createReadWrite('new', 'base'),
  },
  {
    name: 'making a layer larger than its parent',
    before: ['base'],
    after: ['base', 'new'],
    work: (driver) => driver.createReadWrite('new', 'base', { storageOptions: { size: '64M' } }),
  },
  {
    name: 'opening a layer, and giving it back',
    before: ['base', 'new'],
    after: ['base', 'new'],
    work: async (driver) => {
      await driver.get('new')
      await driver.put('new')
    },
  },
  {
    name: 'making a layer read-only that was a container’s',
    before: ['base', 'new'],
    after: ['adopted', 'base'],
    work: (driver) => driver.adopt?.('new', 'adopted') ?? Promise.resolve(),
  },
  {
    name: 'removing a layer',
    before: ['base', 'new'],
    after: ['base'],
    work: (driver) => driver.remove('new'),
  },
]

describe('devicemapper, killed after any step', { ...unless(noThinPools), timeout: 300_000 }, () => {
  let place: ThinPlace
  let driver: Driver
  let home: string

  beforeEach(() => {
    place = thinPlace()
    home = join(place.root, 'devicemapper')
  })
  afterEach(() => place[Symbol.asyncDispose]())

  it.each(operations)('of $name: the next open is whole', async ({ before, after, work }) => {
    driver = await place.open()
    const bystander = await place.open()
    await driver.create('base')
    await write('base', 'kept')
    for (let steps = 0; ; steps++) {
      await bringTo(before)
      const isCut = await cutAfter(steps, home, () => work(driver))
      await expectWhole(bystander)
      await reopenAfter(steps)
      const there = await expectWhole(driver)
      if (!isCut) {
        expect(there).toEqual(after)
        expect(steps).toBeGreaterThan(0)
        break
      }
      expect([before, after], `after ${steps} steps`).toContainEqual(there)
      expect(mountsBelow(place.root)).toEqual([])
    }
    await bystander.cleanup()
    await expectNothingBeside()
  })

  async function expectWhole(next: Driver): Promise<string[]> {
    expect(await read('base', next)).toBe('kept')
    const there = (await next.list()).toSorted()
    for (const id of there) expect(await read(id, next)).toBe('kept')
    return there
  }

  it('of making a layer of one that somebody writes to: who writes goes on', async () => {
    const writer = await place.open()
    driver = await place.open()
    await driver.create('base')
    const { fs } = await writer.get('base')
    for (let steps = 0; ; steps++) {
      await bringTo(['base'])
      const isCut = await cutAfter(steps, home, () => driver.create('new', 'base'))
      await reopenAfter(steps)
      expect((await run('dmsetup', ['info'])).toString()).not.toContain('SUSPENDED')
      await fs.writeFile('/kept', `kept after ${steps}`)
      if (!isCut) break
    }
    await writer.put('base')
    expect(await read('base')).toMatch(/^kept after [5-9]/)
    await expectNothingBeside()
  })

  it('of making a root: the next open makes it', async () => {
    for (let steps = 0, isCut = true; isCut; steps++) {
      await using own = thinPlace({ fileSystems: false })
      isCut = await cutAfter(steps, join(own.root, 'devicemapper'), () => open(own.root))
      const next = await own.open()
      await next.create('layer')
      await next.cleanup()
      expect(await thinIds(own.root)).toHaveLength(2)
    }
  })

  it('of opening a root on a device of its own: the next open is whole', async () => {
    const file = join(place.base, 'device')
    writeFileSync(file, '')
    truncateSync(file, 256 << 20)
    const { fd, path } = attachLoop(file)
    try {
      driver = await place.open({ ...SMALL.ext4, 'dm.directlvm_device': path })
      await driver.create('base')
      await write('base', 'kept')
      await driver.cleanup()
      for (let steps = 0, isCut = true; isCut; steps++) {
        isCut = await cutAfter(steps, home, () => open(place.root))
        driver = await place.open()
        expect(await expectWhole(driver)).toEqual(['base'])
        await driver.cleanup()
      }
      await run('thin_check', [path])
    } finally {
      closeSync(fd)
    }
  })

  /** What recovers is killed, too, the first time. */
  async function reopenAfter(steps: number): Promise<void> {
    await cutAfter(steps % 4, home, () => open(place.root))
    driver = await place.open()
  }

  /** A driver that nobody cleans up. */
  function open(root: string): Promise<Driver> {
    return devicemapper.open({ root, engine: 'kernel', readOnly: false, driverOptions: SMALL.ext4 })
  }

  async function bringTo(ids: readonly string[]): Promise<void> {
    for (const id of await driver.list()) if (!ids.includes(id)) await driver.remove(id)
    for (const id of ids) if (!(await driver.exists(id))) await driver.createReadWrite(id, 'base')
  }

  /** No device, and no thin one that no layer has. */
  async function expectNothingBeside(): Promise<void> {
    const layers = await driver.list()
    await driver.cleanup()
    expect((await run('dmsetup', ['ls'])).toString()).toContain('No devices found')
    expect(await thinIds(place.root)).toHaveLength(layers.length + 1)
  }

  async function write(id: string, content: string): Promise<void> {
    const { fs } = await driver.get(id)
    await fs.writeFile('/kept', content)
    await driver.put(id)
  }

  async function read(id: string, from = driver): Promise<string> {
    const { fs } = await from.get(id)
    try {
      return await fs.readFile('/kept', 'utf8')
    } finally {
      await from.put(id)
    }
  }
})
