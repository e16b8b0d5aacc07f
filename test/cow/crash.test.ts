/** @module-tag thorough */
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { treeOf } from '#layerstack/conformance/tree.js'
import { checkStore } from '#layerstack/cow/check.js'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import type { Volume } from '#layerstack/cow/volume.js'
import { MemoryDevice, type Step } from './memory-device.js'
import { operation, run, small } from './operations.js'

const checksum = await loadChecksum()
const SECTOR = 512

/** A digest of everything a store shows: its volumes and their trees. */
type Shown = string

interface Committed {
  /** Number of steps after which it is on disk. */
  readonly at: number
  readonly shown: Shown
}

describe('CowStore after a crash', () => {
  const { log, commits } = recorded()

  it('shows the last durable commit or a later one, whichever write is cut, torn or scrambled', async () => {
    let cuts = 0
    const device = new MemoryDevice()
    for (const [index, step] of log.entries()) {
      if (step.do === 'write') {
        for (let torn = SECTOR; torn < step.bytes.length; torn += tornAt(step.bytes.length)) {
          const cut = device.copy()
          cut.write(step.bytes.subarray(0, torn), step.offset)
          await mustBeWhole(cut, index)
          cuts++
        }
        const scrambled = device.copy()
        scrambled.write(Buffer.alloc(step.bytes.length, 0xa5), step.offset)
        await mustBeWhole(scrambled, index)
        device.write(step.bytes, step.offset)
        cuts++
      }
      await mustBeWhole(device.copy(), index + 1)
      cuts++
    }
    console.log(`${cuts} cuts in a log of ${log.length} writes and flushes with ${commits.length} commits`)
    expect(cuts).toBeGreaterThan(500)
  })

  it('shows the last durable commit or a later one, if unflushed writes are lost', async () => {
    const flushes = log.flatMap((step, index) => (step.do === 'flush' ? [index] : []))
    const durable = new MemoryDevice()
    let from = 0
    let random = 1
    for (const flush of flushes) {
      const waiting = log.slice(from, flush) as Extract<Step, { do: 'write' }>[]
      for (let round = 0; round < 4; round++) {
        const cut = durable.copy()
        for (const { bytes, offset } of waiting) {
          random = (random * 48_271) % 0x7fff_ffff
          if (random % 2 === 0) cut.write(bytes, offset)
        }
        await mustBeWhole(cut, flush)
      }
      for (const { bytes, offset } of waiting) durable.write(bytes, offset)
      from = flush + 1
    }
  })

  /** Checks that the store shows the last durable commit or the next one, and passes `checkStore`. */
  async function mustBeWhole(device: MemoryDevice, step: number): Promise<void> {
    const known = commits.findLastIndex(({ at }) => at <= step)
    // Before the first commit there is no store.
    if (known < 0) return
    const store = CowStore.open(device, { checksum })
    const possible = [commits[known], commits[known + 1]].map((commit) => commit?.shown)
    expect(possible).toContain(shownBy(store))
    expect(await checkStore(store)).toEqual([])
  }
})

function recorded(): { log: readonly Step[]; commits: readonly Committed[] } {
  const device = new MemoryDevice()
  const store = CowStore.open(device, { checksum })
  const commits: Committed[] = [{ at: device.log.length, shown: shownBy(store) }]
  const commit = (): void => {
    const shown = shownBy(store)
    store.commitNow()
    commits.push({ at: device.log.length, shown })
  }
  let volume = store.create('0')
  let snapshots = 0
  for (const [index, each] of fc.sample(operation, { numRuns: 400, seed: 7 }).entries()) {
    run(new VolumeFs(store, volume), small(each))
    if (index % 9 === 8) commit()
    if (index % 50 !== 49) continue
    volume = store.create(String(++snapshots), { from: volume.name })
    if (index % 100 === 99) store.remove(String(snapshots - 1))
    commit()
  }
  commit()
  return { log: [...device.log], commits }
}

function shownBy(store: CowStore): Shown {
  const hash = createHash('sha256')
  for (const name of store.names()) {
    const fs = new VolumeFs(store, store.volume(name) as Volume, { readOnly: true })
    hash.update(JSON.stringify([name, ...treeOf(fs, { times: () => true })]))
  }
  return hash.digest('hex')
}

/** The distance between cuts: small writes are torn at every sector, large ones at a few. */
function tornAt(length: number): number {
  return length <= 4096 ? SECTOR : Math.max(SECTOR, Math.floor(length / 4 / SECTOR) * SECTOR)
}
