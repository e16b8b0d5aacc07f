import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkStore } from '#layerstack/cow/check.js'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { openSharedStore } from '#layerstack/cow/shared-store.js'
import { CowStore } from '#layerstack/cow/store.js'
import { MemoryDevice } from './memory-device.js'

const checksum = await loadChecksum()

describe('the file of a store', () => {
  let directory: string
  let path: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'layerstack-store-file-'))
    path = join(directory, 'layers.cow')
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  it('is created although a crash at any write left a part of it under the temporary name', async () => {
    const { log } = await made()
    const device = new MemoryDevice()
    let cuts = 0
    for (const step of [...log, undefined]) {
      const left = Buffer.alloc(device.size)
      device.read(left, 0)
      writeFileSync(`${path}.new`, left)
      await mustBeMade()
      rmSync(path)
      cuts++
      if (step?.do === 'write') device.write(step.bytes, step.offset)
    }
    expect(cuts).toBeGreaterThan(4)
  })

  it('is missing or whole if its creator is killed at any step, and is synced before its rename', async () => {
    for (let step = 0; ; step++) {
      const maker = spawnSync(process.execPath, [
        join(import.meta.dirname, 'store-maker.mjs'),
        path,
        String(step),
      ])
      if (existsSync(path)) expect(await checkStore(storeIn(path))).toEqual([])
      await mustBeMade()
      rmSync(path)
      if (maker.signal === 'SIGKILL') continue
      const steps = JSON.parse(maker.stdout.toString()) as string[]
      expect(step).toBe(steps.length)
      expect(steps[steps.indexOf('renameSync') - 1]).toMatch(/^fdatasync/)
      return
    }
  })

  it('is opened once for concurrent callers of one process', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => openSharedStore(path)))
    expect(new Set(all.map(({ store }) => store)).size).toBe(1)
    for (const { close } of all) await close()
    expect(storeFiles()).toEqual(['layers.cow'])
  })

  it('is refused as corrupt if it is empty or all zeros, and left unchanged', async () => {
    for (const size of [0, 1 << 20]) {
      writeFileSync(path, Buffer.alloc(size))
      for (const readOnly of [false, true]) {
        await expect(openSharedStore(path, { readOnly })).rejects.toMatchObject({
          code: 'STORE_CORRUPT',
          path,
        })
      }
      expect(readFileSync(path).equals(Buffer.alloc(size))).toBe(true)
    }
    expect(storeFiles()).toEqual(['layers.cow'])
  })

  async function mustBeMade(): Promise<void> {
    const { store, close } = await openSharedStore(path)
    try {
      expect(store.names()).toEqual([])
      store.create('first')
      await store.commit()
      expect(await checkStore(store)).toEqual([])
    } finally {
      await close()
    }
    expect(storeFiles()).toEqual(['layers.cow'])
  }

  function storeIn(file: string): CowStore {
    const device = new MemoryDevice()
    device.write(readFileSync(file), 0)
    return CowStore.open(device, { checksum, mustExist: true })
  }

  /** Returns a device whose log has every write and flush of a store's creation. */
  async function made(): Promise<MemoryDevice> {
    const device = new MemoryDevice()
    await CowStore.open(device, { checksum }).close()
    return device
  }

  function storeFiles(): string[] {
    return readdirSync(directory).filter((name) => !name.includes('.lock'))
  }
})
