/** @module-tag unit */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { LayerFs } from '#layerstack/fs/facade/layer-fs.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import type { SyncDirent } from '#layerstack/fs/sync-fs.js'
import { removing } from '#layerstack/fs/trees/remove-tree.js'
import { layerFs } from '#layerstack/fs/facade/layer-fs-adapter.js'
import { yieldIfDue } from '#layerstack/event-loop.js'
import { CallOrder } from '#layerstack/fs/facade/call-order.js'
import { loopTurns } from '../support/loop-turns.js'
import { noMounts, unless } from '../support/needs.js'

const bytes = (text: string) => text as ByteString

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layerstack-turn-'))
})

afterEach(() => rmSync(root, { recursive: true, force: true }))

describe('calls that complete at once', () => {
  it('yield to the event loop, however many follow each other', async () => {
    const driver = await overlay2.open({ root, engine: 'userspace', readOnly: false })
    await driver.create('layer')
    const { fs } = await driver.get('layer')
    const loop = { came: false }
    setImmediate(() => {
      loop.came = true
    })
    let calls = 0
    for (; !loop.came && calls < 100_000; calls++) await fs.writeFile('/file', 'text')
    await driver.put('layer')
    await driver.cleanup()
    expect(loop.came, `the event loop did not turn during ${calls} calls`).toBe(true)
  })

  it('yield to the event loop if they only change or read attributes', async () => {
    const driver = await overlay2.open({ root, engine: 'userspace', readOnly: false })
    await driver.create('layer')
    const { fs } = await driver.get('layer')
    await fs.writeFile('/file', 'text')
    for (const call of [() => fs.chmod('/file', 0o600), () => fs.lstat('/file'), () => fs.exists('/none')]) {
      const loop = { came: false }
      setImmediate(() => {
        loop.came = true
      })
      let calls = 0
      for (; !loop.came && calls < 100_000; calls++) await call()
      expect(loop.came, `the event loop did not turn during ${calls} calls`).toBe(true)
    }
    await driver.put('layer')
    await driver.cleanup()
  })

  it('run in the order in which they were made', async () => {
    const driver = await overlay2.open({ root, engine: 'userspace', readOnly: false })
    await driver.create('layer')
    const { fs } = await driver.get('layer')
    await using file = await fs.open('/file', 'w+')
    const lines = Array.from({ length: 20_000 }, (_, index) => `${index}\n`)
    await Promise.all(lines.map((line) => file.write(Buffer.from(line), 0, line.length)))
    expect(await fs.readFile('/file', 'utf8')).toBe(lines.join(''))
    await file.close()
    await driver.put('layer')
    await driver.cleanup()
  })
})

describe('a call on a whole tree', () => {
  const DIRECTORIES = 100
  const tree = (): LayerFs => {
    const raw = new SlowFs()
    raw.mkdir(bytes('tree'), 0o755)
    for (let index = 0; index < DIRECTORIES; index++) {
      raw.mkdir(bytes(`tree/${index}`), 0o755)
      raw.mknod(bytes(`tree/${index}/fifo`), 'fifo', 0o644)
    }
    return layerFs(raw)
  }

  it.each<[string, (fs: LayerFs) => Promise<unknown>]>([
    ['lists the tree', (fs) => fs.readdir('/', { recursive: true })],
    ['removes the tree', (fs) => fs.rm('/tree', { recursive: true })],
  ])('%s without blocking the event loop', async (_, call) => {
    expect(await loopTurns(call(tree()))).toBeGreaterThan(3)
  })

  it('ends before later calls begin', async () => {
    const fs = tree()
    const [before, , , , empty, after] = await Promise.all([
      fs.readdir('/tree', { recursive: true }),
      fs.writeFile('/tree/0/file', ''),
      fs.rm('/tree', { recursive: true }),
      fs.mkdir('/tree'),
      fs.readdir('/tree'),
      fs.readdir('/', { recursive: true }),
    ])
    expect([before.length, empty, after]).toEqual([2 * DIRECTORIES, [], ['tree']])
  })

  it('begins after earlier calls that still wait for the event loop', async () => {
    const turn = new CallOrder()
    const order: string[] = []
    const call = async (name: string) => {
      await turn.next()
      order.push(name)
    }
    yieldIfDue()
    await Promise.all([
      turn.pausing(async () => pass(20)),
      call('first'),
      call('second'),
      turn.pausing(async () => order.push('a whole tree')),
      call('last'),
    ])
    expect(order).toEqual(['first', 'second', 'a whole tree', 'last'])
  })

  it('tolerates that entries are removed by other calls midway', () => {
    const raw = new MemoryFs()
    for (const path of ['tree', 'tree/a', 'tree/b', 'tree/c']) raw.mkdir(bytes(path), 0o755)
    const steps = removing(raw, bytes('tree'))
    steps.next()
    for (const path of ['tree/b', 'tree/c']) raw.rmdir(bytes(path))
    for (const _ of steps);
    expect(raw.readdir(bytes(''))).toEqual([])
  })
})

/** Each call takes a millisecond, so about ten calls take longer than the event loop may wait. */
class SlowFs extends MemoryFs {
  override readdir(path: ByteString): SyncDirent[] {
    pass()
    return super.readdir(path)
  }

  override unlink(path: ByteString): void {
    pass()
    super.unlink(path)
  }
}

function pass(ms = 1): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

describe('a large file of a lower layer', () => {
  it('is copied up by the kernel without blocking the event loop', unless(noMounts), async () => {
    const driver = await overlay2.open({ root, engine: 'kernel', readOnly: false })
    await driver.create('layer')
    await (await driver.get('layer')).fs.writeFile('/large', Buffer.alloc(64 << 20, 'large'))
    await driver.put('layer')
    await driver.createReadWrite('container', 'layer')
    const { fs } = await driver.get('container')
    const loop = { turns: 0, ends: false }
    const turn = () => {
      loop.turns++
      if (!loop.ends) setImmediate(turn)
    }
    turn()
    await using file = await fs.open('/large', 'r+')
    loop.ends = true
    expect(loop.turns).toBeGreaterThan(20)
    await file.close()
    await driver.put('container')
    await driver.cleanup()
  })
})
