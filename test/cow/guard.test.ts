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

/** A disk that fails while it is told to. */
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

describe('a store that several change in turn', unless(noCalls), () => {
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

  /** One of its own each, as processes have. */
  async function guardOf(): Promise<FileGuard> {
    const guard = await openGuard(join(scratch, 'lock'))
    guards.push(guard)
    return guard
  }

  it('is open to others when one that waited for it gave up', async () => {
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

  it('is given up by its holder, committed, when another process waits', async () => {
    const device = new MemoryDevice()
    const store = CowStore.open(device, { checksum, guard: await guardOf() })
    const other = CowStore.open(device, { checksum, guard: await guardOf() })
    store.create('volume')
    const start = performance.now()
    const names = await other.changeLater(() => other.names())
    expect(names).toEqual(['volume'])
    expect(performance.now() - start).toBeLessThan(500)
    await other.close()
    await store.close()
  })

  it('is given up between two changes of a thread that never pauses', async () => {
    const device = new MemoryDevice()
    const store = CowStore.open(device, { checksum, guard: await guardOf(), patience: 1 })
    const other = await guardOf()
    store.create('volume')
    expect(other.tryAcquire()).toBe(false)
    const start = performance.now()
    const change = (): void => {
      while (performance.now() < start + 5000) store.change(() => undefined)
    }
    // The store then waits behind the other guard, which cannot be taken and released in this thread.
    expect(change).toThrow(expect.objectContaining({ code: 'STORE_LOCKED' }))
    expect(performance.now() - start).toBeLessThan(1000)
    expect(other.tryAcquire()).toBe(true)
    other.release()
    await store.close()
  })

  it('is open to others when a commit that failed can be done, though nobody asks for it', async () => {
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

  it('is open to others after a change that was left half done, and shows what was committed', async () => {
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
