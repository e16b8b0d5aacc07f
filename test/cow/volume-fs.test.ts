/** @module-tag unit */
import { constants } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { treeOf, treesDiffer } from '#layerstack/conformance/tree.js'
import { checkStore } from '#layerstack/cow/check.js'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import type { Volume } from '#layerstack/cow/volume.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { MemoryFs } from '#layerstack/fs/memory/memory-fs.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { MemoryDevice } from './memory-device.js'
import { operation, run, type Operation } from './operations.js'

const checksum = await loadChecksum()
const open = (device = new MemoryDevice()): CowStore => CowStore.open(device, { checksum, cache: 64 * 4096 })

describe('VolumeFs', () => {
  it('matches a MemoryFs, also after its store is reopened', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 20, maxLength: 120 }), async (operations) => {
        const device = new MemoryDevice()
        const store = open(device)
        const [fs, model] = [new VolumeFs(store, store.create('volume')), new MemoryFs()]
        for (const [index, each] of operations.entries()) {
          // The differential tests compare the error codes with the kernel's.
          expect([each, run(fs, each) === 'ok']).toEqual([each, run(model, each) === 'ok'])
          if (index % 40 === 39) store.commitNow()
        }
        expect(treesDiffer(treeOf(fs), treeOf(model))).toBeUndefined()
        await store.close()
        const again = open(device)
        expect(
          treesDiffer(treeOf(new VolumeFs(again, there(again, 'volume'))), treeOf(model)),
        ).toBeUndefined()
        expect(await checkStore(again)).toEqual([])
      }),
      { numRuns: 150 },
    )
  })

  it('keeps sizes, owners, modes and times at their limits', async () => {
    const device = new MemoryDevice()
    const store = open(device)
    const fs = new VolumeFs(store, store.create('volume'))
    const wanted = [
      { size: 2 ** 40 + 1, uid: 2 ** 32 - 2, gid: 0, mode: 0o777, mtimeNs: -1n },
      { size: 2 ** 32, uid: 0, gid: 2 ** 31, mode: 0o7000, mtimeNs: 2n ** 63n + 1n },
      { size: 2 ** 32 - 1, uid: 1, gid: 1, mode: 0, mtimeNs: -(2n ** 62n) },
    ]
    for (const [index, { size, uid, gid, mode, mtimeNs }] of wanted.entries()) {
      const path = `file${index}` as ByteString
      fs.open(path, constants.O_CREAT | constants.O_WRONLY, 0o644).close()
      fs.truncate(path, size)
      fs.chown(path, uid, gid)
      fs.chmod(path, mode)
      fs.utimes(path, 5n, mtimeNs)
    }
    await store.close()
    const again = open(device)
    const kept = new VolumeFs(again, there(again, 'volume'))
    for (const [index, fields] of wanted.entries())
      expect(kept.lstat(`file${index}` as ByteString)).toMatchObject({ ...fields, atimeNs: 5n, nlink: 1 })
  })

  it('removes files that its origin keeps, even if names and inodes are in different leaves', async () => {
    const store = open()
    const fs = new VolumeFs(store, store.create('base'))
    const names = Array.from({ length: 400 }, (_, index) => `file${index}` as ByteString)
    for (const name of names) {
      const file = fs.open(name, constants.O_CREAT | constants.O_WRONLY, 0o644)
      file.write(Buffer.alloc(4096, 1), 0)
      file.close()
    }
    const child = new VolumeFs(store, store.create('child', { from: 'base' }))
    for (const name of names) child.unlink(name)
    store.commitNow()
    expect(child.readdir('' as ByteString)).toEqual([])
    expect(fs.readdir('' as ByteString).length).toBe(400)
    expect(await checkStore(store)).toEqual([])
  })

  it('is unaffected by changes to its snapshots and its origin', async () => {
    const steps = fc.array(fc.tuple(fc.nat(), fc.option(operation)), { minLength: 20, maxLength: 150 })
    await fc.assert(
      fc.asyncProperty(steps, async (chosen) => {
        const store = open()
        const pairs: { fs: SyncFs; done: Operation[] }[] = [
          { fs: new VolumeFs(store, store.create('0')), done: [] },
        ]
        for (const [number, each] of chosen) {
          const from = number % pairs.length
          const { fs, done } = pairs[from] as (typeof pairs)[number]
          if (each === null) {
            const made = store.create(String(pairs.length), { from: String(from) })
            pairs.push({ fs: new VolumeFs(store, made), done: [...done] })
          } else {
            run(fs, each)
            done.push(each)
          }
        }
        for (const { fs, done } of pairs) {
          const model = new MemoryFs()
          for (const each of done) run(model, each)
          expect(treesDiffer(treeOf(fs), treeOf(model))).toBeUndefined()
        }
        await store.commit()
        expect(await checkStore(store)).toEqual([])
      }),
      { numRuns: 60 },
    )
  })

  it('keeps an unlinked file while it is open, and frees its blocks when it is closed', async () => {
    const store = open()
    const fs = new VolumeFs(store, store.create('volume'))
    const before = store.space.state.used
    const file = fs.open('file' as ByteString, constants.O_RDWR | constants.O_CREAT, 0o644)
    file.write(Buffer.alloc(1 << 20, 7), 0)
    fs.unlink('file' as ByteString)
    const buffer = Buffer.alloc(10)
    expect(file.read(buffer, 5000)).toBe(10)
    expect(buffer.equals(Buffer.alloc(10, 7))).toBe(true)
    file.close()
    store.commitNow()
    expect(store.space.state.used).toBeLessThan(before + 8)
    expect(await checkStore(store)).toEqual([])
  })

  it('removes files that were open without a name when their process ended', async () => {
    const device = new MemoryDevice()
    const store = open(device)
    const fs = new VolumeFs(store, store.create('volume'))
    fs.open('file' as ByteString, constants.O_RDWR | constants.O_CREAT, 0o644).write(
      Buffer.alloc(1 << 20, 7),
      0,
    )
    fs.unlink('file' as ByteString)
    store.commitNow()
    const again = open(device)
    expect(again.space.state.used).toBeGreaterThan(256)
    new VolumeFs(again, there(again, 'volume')).close()
    again.commitNow()
    expect(again.space.state.used).toBeLessThan(16)
    expect(await checkStore(again)).toEqual([])
  })

  it('refuses writes beyond its limit with EDQUOT', async () => {
    const store = open()
    const fs = new VolumeFs(store, store.create('volume', { limit: 10n * 4096n }))
    expect(run(fs, ['create', 'fits', 40_000, 1])).toBe('ok')
    expect(run(fs, ['write', 'fits', 0, 40_000, 2])).toBe('ok')
    expect(run(fs, ['create', 'does not', 5000, 1])).toBe('EDQUOT')
    expect(run(fs, ['truncate', 'fits', 0])).toBe('ok')
    expect(run(fs, ['append', 'does not', 5000, 1])).toBe('ok')
    store.commitNow()
    expect(await checkStore(store)).toEqual([])
  })

  it('fails with ENOSPC at the end of its device, and continues after a removal', async () => {
    const store = open(new MemoryDevice(1024))
    const fs = new VolumeFs(store, store.create('volume'))
    const outcomes = Array.from({ length: 40 }, (_, index) =>
      run(fs, ['create', `f${index}`, 290_000, index]),
    )
    expect(outcomes).toContain('ok')
    expect(outcomes.at(-1)).toBe('ENOSPC')
    store.commitNow()
    expect(await checkStore(store)).toEqual([])
    for (let index = 0; index < 5; index++) expect(run(fs, ['unlink', `f${index}`])).toBe('ok')
    store.commitNow()
    expect(run(fs, ['create', 'again', 290_000, 1])).toBe('ok')
    store.commitNow()
    expect(await checkStore(store)).toEqual([])
  })
})

function there(store: CowStore, name: string): Volume {
  return store.volume(name) as Volume
}
