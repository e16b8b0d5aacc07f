import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { openGuard, type FileGuard } from '#layerstack/cow/file-guard.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import { noCalls, unless } from '../support/needs.js'
import { MemoryDevice } from './memory-device.js'
import { run } from './operations.js'

const checksum = await loadChecksum()

/** A device whose flushes fail with ENOSPC while `isUnwell` is set. */
class UnwellDevice extends MemoryDevice {
  isUnwell = false

  override flush(): void {
    if (this.isUnwell) throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })
    super.flush()
  }

  override async flushLater(): Promise<void> {
    this.flush()
  }
}

describe('a store with several writers', unless(noCalls), () => {
  let scratch: string
  let guards: FileGuard[]

  beforeEach(() => {
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-guard-'))
    guards = []
  })

  afterEach(async () => {
    for (const guard of guards) await guard.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  /** Returns a separate guard on the same lock, as another process would have it. */
  async function guardOf(): Promise<FileGuard> {
    const guard = await openGuard(join(scratch, 'lock'))
    guards.push(guard)
    return guard
  }

  it('stays open to other writers after one gives up waiting', async () => {
    const device = new MemoryDevice()
    const first = await guardOf()
    const store = CowStore.open(device, { checksum, guard: first })
    store.create('volume')
    const [second, third] = [
      CowStore.open(device, { checksum, guard: await guardOf(), patience: 20 }),
      CowStore.open(device, { checksum, guard: await guardOf(), patience: 20 }),
    ]
    expect(() => second.create('second')).toThrow(expect.objectContaining({ code: 'STORE_LOCKED' }))
    await store.commit()
    third.create('third')
    third.commitNow()
    second.create('second')
    second.commitNow()
    expect(third.names()).toEqual(['second', 'third', 'volume'])
    await store.close()
  })

  it('is committed and released when another writer waits', async () => {
    const device = new MemoryDevice()
    const store = CowStore.open(device, { checksum, guard: await guardOf() })
    const other = CowStore.open(device, { checksum, guard: await guardOf() })
    store.create('volume')
    const names = await other.changeLater(() => other.names())
    expect(names).toEqual(['volume'])
    await other.close()
    await store.close()
  })

  it('is released between two changes of a thread that never yields', async () => {
    const device = new MemoryDevice()
    const store = CowStore.open(device, { checksum, guard: await guardOf(), patience: 1 })
    const other = await guardOf()
    store.create('volume')
    expect(other.tryAcquire()).toBe(false)
    const start = performance.now()
    const change = (): void => {
      while (performance.now() < start + 5000) store.change(() => undefined)
    }
    // The store then waits for the other guard, which this busy thread cannot acquire and release.
    expect(change).toThrow(expect.objectContaining({ code: 'STORE_LOCKED' }))
    expect(other.tryAcquire()).toBe(true)
    other.release()
    await store.close()
  })

  it('retries a failed commit unasked, and is released once it succeeds', async () => {
    const device = new UnwellDevice()
    const other = await guardOf()
    const store = CowStore.open(device, { checksum, guard: await guardOf() })
    for (const commit of [() => store.commit(), async () => store.commitNow()]) {
      const name = `volume${store.names().length}`
      store.create(name)
      device.isUnwell = true
      await expect(commit()).rejects.toThrow('ENOSPC')
      expect(other.tryAcquire()).toBe(false)
      other.forgo()
      device.isUnwell = false
      await vi.waitFor(() => expect(other.tryAcquire()).toBe(true), { timeout: 30_000, interval: 20 })
      other.release()
      expect(CowStore.open(device, { checksum, readOnly: true }).names()).toContain(name)
    }
    await store.close()
  })

  it('is released after a change that throws midway, and shows the last commit', async () => {
    const device = new MemoryDevice()
    const other = await guardOf()
    const store = CowStore.open(device, { checksum, guard: await guardOf() })
    const fs = new VolumeFs(store, store.create('volume'))
    run(fs, ['create', 'kept', 10, 1])
    await store.commit()
    const half = (): never =>
      fs.write(() => {
        run(fs, ['create', 'half', 10, 1])
        throw new Error('half done')
      })
    expect(half).toThrow('half done')
    await expect(store.commit()).rejects.toThrow('half done')
    expect(other.tryAcquire()).toBe(true)
    expect(fs.readdir('' as never).map(({ name }) => name)).toEqual(['kept'])
    const theirs = CowStore.open(device, { checksum, guard: other })
    theirs.create('theirs')
    theirs.commitNow()
    expect(store.names()).toEqual(['theirs', 'volume'])
    await expect(store.commit()).rejects.toThrow('half done')
    expect(() => store.create('more')).toThrow('half done')
    await store.close()
  })
})
