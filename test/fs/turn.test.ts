import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import { noMounts, unless } from '../support/needs.js'

let root: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'layerstack-turn-'))
})

afterEach(() => rmSync(root, { recursive: true, force: true }))

describe('calls on files that are done at once', () => {
  it('leave the event loop room, however many there are', async () => {
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
    expect(loop.came, `nobody else had a turn in ${calls} calls`).toBe(true)
  })

  it('leave it room, too, when they only change or look at attributes', async () => {
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
      expect(loop.came, `nobody else had a turn in ${calls} calls`).toBe(true)
    }
    await driver.put('layer')
    await driver.cleanup()
  })

  it('are done in their order all the same', async () => {
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

describe('a large file of a lower layer', () => {
  it('is copied up by the kernel while the event loop goes on', unless(noMounts), async () => {
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
