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
import { ThinPool } from '#layerstack/thin/thin-pool.js'
import { MemoryDevice } from '../cow/memory-device.js'
import { operation, run, small } from '../cow/operations.js'

const checksum = await loadChecksum()
const GEOMETRY = { metadataBlocks: 1024, dataBlocks: 1024, blockSize: 64 << 10 }
const SIZE = 32 << 20
const DEVICES = [1, 2] as const
const NAMES = ['metadata', 'data'] as const

type Name = (typeof NAMES)[number]
type Step =
  | { readonly do: 'write'; readonly on: Name; readonly offset: number; readonly bytes: Buffer }
  | { readonly do: 'flush'; readonly on: Name }

/** Records its writes and flushes in a log that it shares with other devices. */
class LoggedDevice extends MemoryDevice {
  readonly #on: Name
  readonly #steps: Step[]

  constructor(on: Name, steps: Step[]) {
    super()
    this.#on = on
    this.#steps = steps
  }

  override write(bytes: Uint8Array, offset: number): void {
    this.#steps.push({ do: 'write', on: this.#on, offset, bytes: Buffer.from(bytes) })
    super.write(bytes, offset)
  }

  override flush(): void {
    this.#steps.push({ do: 'flush', on: this.#on })
  }
}

describe('file systems on a thin pool after a crash', () => {
  const { steps, commits } = recorded()

  it('show the last durable commit or a later one, whichever write is cut or torn', async () => {
    const devices = { metadata: new MemoryDevice(), data: new MemoryDevice() }
    let cuts = 0
    for (const [index, step] of steps.entries()) {
      if (step.do === 'write') {
        // The pool's superblock is one sector, so it cannot be torn.
        const whole = step.on === 'metadata' && step.offset === 0 ? 0 : Math.ceil(step.bytes.length / 2)
        const torn = { metadata: devices.metadata.copy(), data: devices.data.copy() }
        torn[step.on].write(step.bytes.subarray(0, whole), step.offset)
        await mustBeCommitted(torn, index)
        devices[step.on].write(step.bytes, step.offset)
        cuts++
      }
      await mustBeCommitted({ metadata: devices.metadata.copy(), data: devices.data.copy() }, index + 1)
      cuts++
    }
    console.log(`${cuts} cuts in a log of ${steps.length} writes and flushes to both files of a pool`)
    expect(cuts).toBeGreaterThan(500)
  })

  it('show the last durable commit or a later one, if unflushed writes are lost', async () => {
    const durable = { metadata: new MemoryDevice(), data: new MemoryDevice() }
    const waiting: Record<Name, Extract<Step, { do: 'write' }>[]> = { metadata: [], data: [] }
    let random = 1
    for (const [index, step] of steps.entries()) {
      if (step.do === 'write') {
        waiting[step.on].push(step)
        continue
      }
      for (let round = 0; round < 4; round++) {
        const found = { metadata: durable.metadata.copy(), data: durable.data.copy() }
        for (const { on, bytes, offset } of NAMES.flatMap((name) => waiting[name])) {
          random = (random * 48_271) % 0x7fff_ffff
          if (random % 2 === 0) found[on].write(bytes, offset)
        }
        await mustBeCommitted(found, index)
      }
      for (const { bytes, offset } of waiting[step.on].splice(0)) durable[step.on].write(bytes, offset)
    }
  })

  async function mustBeCommitted(found: Record<Name, MemoryDevice>, at: number): Promise<void> {
    if (at < (commits[1][0]?.at ?? 0)) return
    const pool = poolOn(found)
    pool.tryAcquire()
    for (const id of DEVICES) {
      const known = commits[id].findLastIndex((commit) => commit.at <= at)
      if (known < 0 && !pool.metadata.has(id)) continue
      const store = CowStore.open(pool.device(id, SIZE), { checksum, readOnly: true })
      const possible = commits[id].slice(Math.max(0, known), known + 2).map(({ shown }) => shown)
      expect(possible, `device ${id} after ${at} steps`).toContain(shownBy(store))
      expect(await checkStore(store)).toEqual([])
    }
  }
})

function recorded() {
  const steps: Step[] = []
  const [metadata, data] = [new LoggedDevice('metadata', steps), new LoggedDevice('data', steps)]
  const pool = poolOn({ metadata, data })
  const commits: Record<(typeof DEVICES)[number], { at: number; shown: string }[]> = { 1: [], 2: [] }
  pool.tryAcquire()
  pool.metadata.createThin(1)
  pool.commit()
  const store = CowStore.open(pool.device(1, SIZE), { checksum })
  const stores = [store]
  store.create('layer')
  const commit = (at: number): void => {
    const each = stores[at] as CowStore
    const shown = shownBy(each)
    each.commitNow()
    commits[DEVICES[at] as 1 | 2].push({ at: steps.length, shown })
  }
  commit(0)
  for (const [index, each] of fc.sample(operation, { numRuns: 300, seed: 5 }).entries()) {
    const at = index % stores.length
    const current = stores[at] as CowStore
    run(new VolumeFs(current, current.volume('layer') as Volume), small(each))
    if (index % 7 === 6) commit(at)
    if (index !== 120) continue
    commit(0)
    pool.metadata.createSnapshot(2, 1)
    commits[2].push({ at: Infinity, shown: shownBy(store) })
    pool.commit()
    commits[2][0] = { at: steps.length, shown: shownBy(store) }
    stores.push(CowStore.open(pool.device(2, SIZE), { checksum }))
  }
  for (const at of stores.keys()) commit(at)
  return { steps, commits }
}

function poolOn({ metadata, data }: Record<Name, MemoryDevice>): ThinPool {
  const files = { metadata, data, geometry: GEOMETRY, readOnly: false, mustExist: () => false }
  return new ThinPool({ ...files, guard: undefined })
}

function shownBy(store: CowStore): string {
  const fs = new VolumeFs(store, store.volume('layer') as Volume, { readOnly: true })
  return createHash('sha256')
    .update(JSON.stringify([...treeOf(fs, { times: () => true })]))
    .digest('hex')
}
