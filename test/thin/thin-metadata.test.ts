/** @module-tag thorough */
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BLOCK } from '#layerstack/cow/block.js'
import { ThinMetadata } from '#layerstack/thin/thin-metadata.js'
import { MemoryDevice } from '../cow/memory-device.js'
import { notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import {
  asFile,
  dumped,
  GEOMETRY,
  mappingsOf,
  mustBeClean,
  stepPool,
  type PoolModel,
  type PoolStep,
} from './pool-model.js'

const noTools = notInstalled('thin_check', 'thin_dump', 'thin_ls', 'thin_restore')
const step: fc.Arbitrary<PoolStep> = fc.tuple(
  fc.integer({ min: 0, max: 20 }),
  fc.integer({ min: 1, max: 6 }),
  fc.integer({ min: 1, max: 6 }),
  fc.integer({ min: 0, max: 3000 }),
  fc.constantFrom(1, 1, 7, 300, 900),
)

const open = (device: MemoryDevice): ThinMetadata => ThinMetadata.open(device, GEOMETRY, { mayMake: true })

describe('ThinMetadata', () => {
  it('keeps its mappings, also after it is reopened, and passes thin_check', unless(noTools), async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 150 }), async (steps) => {
        const device = new MemoryDevice()
        let pool = open(device)
        const model: PoolModel = new Map()
        for (const [index, each] of steps.entries()) {
          stepPool(pool, model, each)
          if (index % 25 === 24) pool.commit()
          if (index % 50 === 49) pool = open(device)
        }
        expect(mappingsOf(pool, model)).toEqual(model)
        pool.commit()
        await mustBeClean(device)
        expect(await dumped(device)).toEqual(new Map([...model].toSorted(([a], [b]) => a - b)))
        expect(mappingsOf(open(device), model)).toEqual(model)
        const used = new Set([...model.values()].flatMap((blocks) => [...blocks.values()]))
        expect(open(device).status.data.used).toBe(used.size)
      }),
      { numRuns: 25 },
    )
  })

  it('is readable by thin_ls, and opens the output of thin_restore', unless(noTools), async () => {
    const { device, model } = filled()
    await asFile(device, async (path) => {
      const listed = (await run('thin_ls', ['--no-headers', '-o', 'DEV', path])).toString()
      expect(listed.split('\n').flatMap((line) => (line.trim() === '' ? [] : [Number(line)]))).toEqual(
        [...model.keys()].toSorted((a, b) => a - b),
      )
      await run('thin_dump', [path, '-o', `${path}.xml`])
      await run('cp', [path, `${path}.restored`])
      await run('thin_restore', ['-i', `${path}.xml`, '-o', `${path}.restored`])
      const restored = new MemoryDevice()
      restored.write(readFileSync(`${path}.restored`), 0)
      const pool = open(restored)
      expect(mappingsOf(pool, model)).toEqual(model)
      stepPool(pool, model, [10, 1, 1, 5000, 20])
      pool.commit()
      await mustBeClean(restored)
    })
  })

  it(
    'shows the last durable commit or a later one, after a crash at any write',
    unless(noTools),
    async () => {
      const { device, commits } = filled()
      const crashed = new MemoryDevice()
      let cuts = 0
      for (const [index, each] of device.log.entries()) {
        if (each.do === 'write') {
          // The superblock is one sector, so it cannot be torn. Only its first write changes the rest of its block.
          const torn = crashed.copy()
          torn.write(each.bytes.subarray(0, each.offset === 0 ? 0 : 700), each.offset)
          mustBeCommitted(torn, index)
          crashed.write(each.bytes, each.offset)
        }
        mustBeCommitted(crashed.copy(), index + 1)
        if (index % 150 === 0 && index > (commits[0]?.at ?? 0)) await mustBeClean(crashed)
        cuts += 2
      }
      console.log(`${cuts} cuts in a log of ${device.log.length} writes and flushes`)

      function mustBeCommitted(found: MemoryDevice, at: number): void {
        const known = commits.findLastIndex((commit) => commit.at <= at)
        if (known < 0) return
        const pool = open(found)
        const possible = commits.slice(known, known + 2)
        const { transactionId } = pool
        const commit = possible.find((each) => each.transactionId === transactionId)
        expect(commit, `transaction ${transactionId} after ${at} steps`).toBeDefined()
        expect(mappingsOf(pool, commit?.model ?? new Map())).toEqual(commit?.model)
      }
    },
  )

  it('reports which block is damaged, and refuses a device that is not a pool', () => {
    const { device } = filled()
    const used = new Set(device.log.flatMap((each) => (each.do === 'write' ? [each.offset / BLOCK] : [])))
    let found = 0
    for (const block of used) {
      const damaged = device.copy()
      damaged.flip(block * BLOCK + 100)
      try {
        const pool = open(damaged)
        for (let id = 1; id < 7; id++) if (pool.has(id)) pool.deleteThin(id)
      } catch (error) {
        expect(error).toMatchObject(block === 0 ? { code: 'STORE_CORRUPT' } : { code: 'EIO', block })
        found++
      }
    }
    expect(found).toBeGreaterThan(10)
    console.log(`found damage in ${found} of ${used.size} blocks`)
    const foreign = new MemoryDevice()
    foreign.write(Buffer.alloc(9000, 'not a pool'), 0)
    expect(() => open(foreign)).toThrow(expect.objectContaining({ code: 'STORE_FOREIGN' }))
  })
})

describe('a deletion that meets a damaged block', () => {
  it('fails as a whole, and the pool keeps every device that was not deleted', () => {
    const { device } = filled()
    const used = new Set(device.log.flatMap((each) => (each.do === 'write' ? [each.offset / BLOCK] : [])))
    let refused = 0
    for (const block of used) {
      const damaged = device.copy()
      damaged.flip(block * BLOCK + 100)
      if (!isOpened(damaged)) continue
      const pool = open(damaged)
      if (!works(block, () => ids.map((id) => pool.has(id)))) continue
      const kept = ids.filter((id) => pool.has(id) && !works(block, () => pool.deleteThin(id)))
      if (kept.length === 0) continue
      refused++
      expect(kept.filter((id) => !pool.has(id))).toEqual([])
      if (!works(block, () => pool.commit())) continue
      const again = open(damaged)
      expect(ids.filter((id) => again.has(id))).toEqual(kept)
    }
    expect(refused).toBeGreaterThan(3)
  })
})

const ids = [1, 2, 3, 4, 5, 6]

/** Returns false if the call fails because of the damaged block. */
function works(block: number, call: () => unknown): boolean {
  try {
    call()
    return true
  } catch (error) {
    expect(error).toMatchObject({ code: 'EIO', block })
    return false
  }
}

function isOpened(device: MemoryDevice): boolean {
  try {
    open(device)
    return true
  } catch {
    return false
  }
}

function filled() {
  const device = new MemoryDevice()
  const pool = open(device)
  const model: PoolModel = new Map()
  const commits: { at: number; transactionId: number; model: PoolModel }[] = []
  for (const [index, each] of fc.sample(step, { numRuns: 240, seed: 11 }).entries()) {
    stepPool(pool, model, each)
    if (index % 12 !== 11) continue
    pool.transact(pool.transactionId + 1, () => undefined)
    pool.commit()
    const copy = new Map([...model].map(([id, blocks]) => [id, new Map(blocks)] as const))
    commits.push({ at: device.log.length, transactionId: pool.transactionId, model: copy })
  }
  return { device, model, commits }
}
