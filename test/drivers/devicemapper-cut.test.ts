/** @module-tag device-mapper */
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
import { noThinPools, SMALL, thinIds, thinFixture, type ThinFixture } from './thin-fixture.js'

/** An operation to interrupt, with the layers before and after it. `base` always exists. */
interface Operation {
  readonly name: string
  readonly before: readonly string[]
  readonly after: readonly string[]
  work(driver: Driver): Promise<unknown>
}

const operations: readonly Operation[] = [
  {
    name: 'creating a layer',
    before: ['base'],
    after: ['base', 'new'],
    work: (driver) => driver.createReadWrite('new', 'base'),
  },
  {
    name: 'creating a layer larger than its parent',
    before: ['base'],
    after: ['base', 'new'],
    work: (driver) => driver.createReadWrite('new', 'base', { storageOptions: { size: '64M' } }),
  },
  {
    name: 'opening and closing a layer',
    before: ['base', 'new'],
    after: ['base', 'new'],
    work: async (driver) => {
      await driver.get('new')
      await driver.put('new')
    },
  },
  {
    name: 'adopting the layer of a container',
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

describe('devicemapper, interrupted after each step', { ...unless(noThinPools), timeout: 300_000 }, () => {
  let fixture: ThinFixture
  let driver: Driver
  let home: string

  beforeEach(() => {
    fixture = thinFixture()
    home = join(fixture.root, 'devicemapper')
  })
  afterEach(() => fixture[Symbol.asyncDispose]())

  it.each(operations)('of $name, recovers at the next open', async ({ before, after, work }) => {
    driver = await fixture.open()
    const bystander = await fixture.open()
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
      expect(mountsBelow(fixture.root)).toEqual([])
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

  it('of creating a layer on one that is open for writing, does not block the writer', async () => {
    const writer = await fixture.open()
    driver = await fixture.open()
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

  it('of creating a root, creates it at the next open', async () => {
    for (let steps = 0, isCut = true; isCut; steps++) {
      await using own = thinFixture({ fileSystems: false })
      isCut = await cutAfter(steps, join(own.root, 'devicemapper'), () => open(own.root))
      const next = await own.open()
      await next.create('layer')
      await next.cleanup()
      expect(await thinIds(own.root)).toHaveLength(2)
    }
  })

  it('of opening a root on a block device, recovers at the next open', async () => {
    const file = join(fixture.base, 'device')
    writeFileSync(file, '')
    truncateSync(file, 256 << 20)
    const { fd, path } = attachLoop(file)
    try {
      driver = await fixture.open({ ...SMALL.ext4, 'dm.directlvm_device': path })
      await driver.create('base')
      await write('base', 'kept')
      await driver.cleanup()
      for (let steps = 0, isCut = true; isCut; steps++) {
        isCut = await cutAfter(steps, home, () => open(fixture.root))
        driver = await fixture.open()
        expect(await expectWhole(driver)).toEqual(['base'])
        await driver.cleanup()
      }
      await run('thin_check', [path])
    } finally {
      closeSync(fd)
    }
  })

  /** Interrupts a first recovery too, then opens the root. */
  async function reopenAfter(steps: number): Promise<void> {
    await cutAfter(steps % 4, home, () => open(fixture.root))
    driver = await fixture.open()
  }

  /** Opens a driver that is never cleaned up. */
  function open(root: string): Promise<Driver> {
    return devicemapper.open({ root, engine: 'kernel', readOnly: false, driverOptions: SMALL.ext4 })
  }

  async function bringTo(ids: readonly string[]): Promise<void> {
    for (const id of await driver.list()) if (!ids.includes(id)) await driver.remove(id)
    for (const id of ids) if (!(await driver.exists(id))) await driver.createReadWrite(id, 'base')
  }

  /** Expects no device after cleanup, and no thin device without a layer except the base device. */
  async function expectNothingBeside(): Promise<void> {
    const layers = await driver.list()
    await driver.cleanup()
    expect((await run('dmsetup', ['ls'])).toString()).toContain('No devices found')
    expect(await thinIds(fixture.root)).toHaveLength(layers.length + 1)
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
