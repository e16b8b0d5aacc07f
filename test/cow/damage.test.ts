/** @module-tag unit */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { treeOf } from '#layerstack/conformance/tree.js'
import { BLOCK } from '#layerstack/cow/block.js'
import { checkStore } from '#layerstack/cow/check.js'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { DamagedBlock } from '#layerstack/cow/damage.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import type { Volume } from '#layerstack/cow/volume.js'
import { MemoryDevice } from './memory-device.js'
import { operation, run, small } from './operations.js'

const checksum = await loadChecksum()
const NAMES = ['one', 'two', 'three']

describe('a flipped byte', () => {
  it('is reported by every read that meets it and by a check, and changes no other volume', async () => {
    const device = filled()
    const whole = new Map(NAMES.map((name) => [name, shown(device, name)]))
    let random = 1
    let flipped = 0
    for (const block of usedBlocks(device)) {
      for (let times = 0; times < 8; times++) {
        random = (random * 48_271) % 0x7fff_ffff
        const damaged = device.copy()
        damaged.flip(block * BLOCK + (random % BLOCK))
        const met = new Set<number>()
        for (const name of NAMES) {
          const found = shown(damaged, name)
          if (typeof found === 'number') met.add(found)
          else expect(found).toBe(whole.get(name))
        }
        const findings = await checkStore(CowStore.open(damaged, { checksum, readOnly: true }))
        if (block >= 2) expect(findings.map((finding) => finding.block)).toContain(block)
        expect([...met].filter((each) => each !== block)).toEqual([])
        flipped++
      }
    }
    console.log(`flipped ${flipped} bytes in ${flipped / 8} blocks`)
    expect(flipped).toBeGreaterThan(300)
  })

  it('in one volume leaves the others usable, and new ones can be created and written', async () => {
    const device = filled()
    const store = CowStore.open(device, { checksum })
    const fs = new VolumeFs(store, store.create('bad'))
    expect(run(fs, ['create', 'file', 18_000, 1])).toBe('ok')
    const used = new Set(usedBlocks(device))
    await store.close()
    const content = usedBlocks(device).find((block) => !used.has(block) && isContent(device, block)) ?? 0
    device.flip(content * BLOCK + 100)
    const again = CowStore.open(device, { checksum })
    const bad = new VolumeFs(again, again.volume('bad') as Volume)
    expect(() => treeOf(bad)).toThrow(`EIO: block ${content} of memory is damaged`)
    const good = new VolumeFs(again, again.create('good', { from: 'one' }))
    expect(run(good, ['create', 'new', 20_000, 1])).toBe('ok')
    await again.commit()
    expect(await checkStore(again)).toEqual([{ block: content, volume: 'bad', what: 'wrong checksum' }])
  })
})

describe('a device without an intact store of this version', () => {
  it.each([
    ['foreign', Buffer.alloc(8192, 'not one of ours'), 'STORE_FOREIGN'],
    ['of a later version', laterVersion(), 'STORE_FOREIGN'],
  ])('is refused and left unchanged if it is %s', (_state, bytes, code) => {
    const device = new MemoryDevice()
    device.write(bytes, 0)
    device.log.length = 0
    expect(() => CowStore.open(device, { checksum })).toThrow(expect.objectContaining({ code }))
    expect(device.log).toEqual([])
  })

  it('fails a check if it is cut short', async () => {
    const device = filled()
    const short = new MemoryDevice()
    const bytes = Buffer.alloc(Math.floor(device.size / 2 / BLOCK) * BLOCK)
    device.read(bytes, 0)
    short.write(bytes, 0)
    const store = CowStore.open(short, { checksum, readOnly: true })
    expect((await checkStore(store)).length).toBeGreaterThan(0)
  })
})

function filled(): MemoryDevice {
  const device = new MemoryDevice()
  const store = CowStore.open(device, { checksum })
  const operations = fc.sample(operation, { numRuns: 1200, seed: 3 })
  for (const [index, name] of NAMES.entries()) {
    const from = NAMES[index - 1]
    const fs = new VolumeFs(store, store.create(name, { from }))
    for (const each of operations.slice(index * 400, index * 400 + 400)) run(fs, small(each))
    store.commitNow()
  }
  return device
}

/** A volume's tree as text, or the block that an error reports as damaged. */
function shown(device: MemoryDevice, name: string): string | number {
  try {
    const store = CowStore.open(device, { checksum, readOnly: true })
    const fs = new VolumeFs(store, store.volume(name) as Volume)
    return JSON.stringify([...treeOf(fs, { times: () => true })])
  } catch (error) {
    if (error instanceof DamagedBlock && error.code === 'EIO') return error.block
    throw error
  }
}

/** Whether a block belongs to the file that contains almost only ones. */
function isContent(device: MemoryDevice, block: number): boolean {
  const bytes = Buffer.alloc(BLOCK)
  device.read(bytes, block * BLOCK)
  return bytes.subarray(3200, 3700).every((byte) => byte === 1)
}

function usedBlocks(device: MemoryDevice): number[] {
  const store = CowStore.open(device, { checksum, readOnly: true })
  const blocks: number[] = []
  for (const { index, counts } of store.space.saved()) {
    for (const [at, count] of counts.entries()) if (count > 0) blocks.push(index * counts.length + at)
  }
  return blocks
}

function laterVersion(): Buffer {
  const device = filled()
  const block = Buffer.alloc(8192)
  device.read(block, 0)
  for (let at = 0; at < block.length; at += 512) {
    block.writeUInt32LE(2, at + 24)
    block.writeBigUInt64LE(checksum(block.subarray(at + 8, at + 512)), at)
  }
  return block
}
