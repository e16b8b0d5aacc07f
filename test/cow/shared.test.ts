/** @module-tag unit */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BLOCK } from '#layerstack/cow/block.js'
import { checkStore } from '#layerstack/cow/check.js'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { openGuard, type FileGuard } from '#layerstack/cow/file-guard.js'
import { CowStore } from '#layerstack/cow/store.js'
import { findSuperblock } from '#layerstack/cow/superblock.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { noCalls, unless } from '../support/needs.js'
import { MemoryDevice } from './memory-device.js'
import { run } from './operations.js'

const checksum = await loadChecksum()
const ROOT = '' as ByteString

/** Two stores on one device, each with its own guard, as in two processes. */
describe('a store that another process changes', unless(noCalls), () => {
  let scratch: string
  let guards: FileGuard[]
  let device: MemoryDevice
  let ours: CowStore
  let theirs: CowStore
  let turn = 0

  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-shared-'))
    guards = [await openGuard(join(scratch, 'lock')), await openGuard(join(scratch, 'lock'))]
    device = new MemoryDevice()
    const [first, second] = guards as [FileGuard, FileGuard]
    ours = CowStore.open(device, { checksum, guard: first })
    fill('kept', 150)
    theirs = CowStore.open(device, { checksum, guard: second })
  })

  afterEach(async () => {
    await theirs.close()
    await ours.close()
    for (const guard of guards) await guard.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  function fill(name: string, files: number): void {
    const fs = new VolumeFs(ours, ours.create(name))
    for (let file = 0; file < files; file++) run(fs, ['create', `file${file}`, 30_000, file])
    fs.close()
    ours.commitNow()
  }

  /** Frees and reuses blocks until `work` is done. */
  async function churning<T>(work: () => Promise<T>): Promise<T> {
    const state = { isDone: false }
    const working = work().finally(() => (state.isDone = true))
    for (const first = turn; !state.isDone; turn++) {
      await theirs.changeLater(() => {
        const from = turn % 2 === 0 ? 'kept' : undefined
        const fs = new VolumeFs(theirs, theirs.create(`churned${turn}`, { from }))
        for (let file = 0; file < 20; file++) run(fs, ['create', `new${file}`, 20_000, turn])
        fs.close()
        if (turn > first) theirs.remove(`churned${turn - 1}`)
      })
      await theirs.commit()
      await theirs.reap()
      await theirs.commit()
      await setImmediate()
    }
    return working
  }

  it('passes a check meanwhile', async () => {
    for (let round = 0; round < 3; round++) expect(await churning(() => checkStore(ours))).toEqual([])
  })

  it('fails a check meanwhile only in its damaged block', async () => {
    const used = blocksInUse()
    fill('bad', 3)
    const block = blocksInUse().find((each) => !used.includes(each) && isContent(each)) ?? 0
    device.flip(block * BLOCK)
    const findings = await churning(() => checkStore(ours))
    expect(findings).toEqual([{ block, volume: 'bad', what: 'wrong checksum' }])
  })

  it('shows its newest state in all volumes after a failed read', () => {
    const fs = new VolumeFs(ours, ours.volume('kept') as never)
    const other = new VolumeFs(theirs, theirs.volume('kept') as never)
    run(other, ['create', 'theirs', 10, 1])
    theirs.commitNow()
    const found = findSuperblock(device, checksum)
    const root = found.kind === 'superblock' ? found.superblock.volumes.address * BLOCK + 100 : 0
    device.flip(root)
    expect(() => ours.names()).toThrow('EIO')
    device.flip(root)
    // The volume must not remain in the earlier state.
    run(fs, ['create', 'ours', 10, 1])
    ours.commitNow()
    const names = new VolumeFs(theirs, theirs.volume('kept') as never).readdir(ROOT).map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['ours', 'theirs']))
  })

  it('releases its guard when a read under it fails', () => {
    const fs = new VolumeFs(ours, ours.volume('kept') as never)
    theirs.create('theirs')
    theirs.commitNow()
    const found = findSuperblock(device, checksum)
    const root = found.kind === 'superblock' ? found.superblock.volumes.address * BLOCK + 100 : 0
    device.flip(root)
    expect(() => ours.create('ours')).toThrow('EIO')
    device.flip(root)
    theirs.create('more')
    theirs.commitNow()
    fs.close()
    expect(ours.names()).toEqual(['kept', 'more', 'theirs'])
  })

  function blocksInUse(): number[] {
    const blocks: number[] = []
    for (const { index, counts } of ours.space.saved()) {
      for (const [at, count] of counts.entries()) if (count > 0) blocks.push(index * counts.length + at)
    }
    return blocks
  }

  /** Whether a block holds file content. Nodes have a magic byte at offset 21. */
  function isContent(block: number): boolean {
    const bytes = Buffer.alloc(BLOCK)
    device.read(bytes, block * BLOCK)
    return bytes[21] !== 0x43 && bytes[21] !== 0
  }
})
