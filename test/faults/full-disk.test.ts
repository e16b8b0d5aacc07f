/** @module-tag thorough */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type OpenStoreOptions, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts, unless } from '../support/needs.js'
import { run } from '../support/program.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const MB = 1 << 20
const variants = [
  { driver: 'vfs', engine: 'userspace' },
  { driver: 'overlay2', engine: 'userspace' },
  { driver: 'btrfs', engine: 'userspace' },
  {
    driver: 'devicemapper',
    engine: 'userspace',
    driverOptions: { 'dm.basesize': '1G', 'dm.loopdatasize': '2G', 'dm.loopmetadatasize': '64M' },
  },
  { driver: 'overlay2', engine: 'kernel' },
] as const

let scratch: string
let disk: string

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-full-'))
  disk = join(scratch, 'disk')
  mkdirSync(disk)
})

afterEach(async () => {
  await unmountBelow(scratch)
  rmSync(scratch, { recursive: true, force: true })
})

describe.each(variants)(
  'full disk under $driver, $engine:',
  unless(noMounts),
  ({ driver, engine, ...options }) => {
    beforeEach(async () => {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${24 * MB}`, 'layerstack-test', disk])
    })

    it('load() rejects with NO_SPACE, leaves the store unchanged, and succeeds on a larger disk', async () => {
      await using store = await open()
      await store.load(await archive('small', 1))
      const before = await contentOf(store)
      const large = await archive('large', 12, 14)
      await expect(store.load(large)).rejects.toMatchObject({ name: 'StoreError', code: 'NO_SPACE' })
      expect(await contentOf(store)).toEqual(before)
      expect((await store.check()).problems).toEqual([])
      await run('mount', ['-o', `remount,size=${128 * MB}`, disk])
      await store.load(large)
      expect((await store.check()).problems).toEqual([])
    })

    it('load() of a compressed archive rejects with NO_SPACE and leaves nothing behind', async () => {
      await using store = await open()
      const large = await archive('large', 30)
      await run('gzip', ['-1', large])
      await expect(store.load(`${large}.gz`)).rejects.toMatchObject({ code: 'NO_SPACE' })
      expect(await contentOf(store)).toEqual({ images: [], layers: 0, driver: 0 })
      await store.load(await archive('small', 1))
      expect((await store.check()).problems).toEqual([])
    })

    it('writes to a container fail with ENOSPC, and its commit() rejects with NO_SPACE and keeps its file', async () => {
      await using store = await open()
      const [image] = await store.load(await archive('small', 1))
      await using container = await store.createContainer(image?.id ?? '')
      await expect(container.fs.writeFile('/too-large', Buffer.alloc(30 * MB, 1))).rejects.toMatchObject({
        code: 'ENOSPC',
      })
      await container.fs.rm('/too-large', { force: true })
      await container.fs.writeFile('/fits', Buffer.alloc(12 * MB, 2))
      const before = await contentOf(store)
      await expect(container.commit({ reference: 'full:1' })).rejects.toMatchObject({ code: 'NO_SPACE' })
      expect(await contentOf(store)).toEqual(before)
      expect((await container.fs.stat('/fits')).size).toBe(12 * MB)
      expect((await store.check()).problems).toEqual([])
    })

    it('save() to the same disk rejects with NO_SPACE and leaves no file', async () => {
      await using store = await open()
      await store.load(await archive('middle', driver === 'vfs' ? 8 : 14))
      writeFileSync(join(disk, 'filler'), Buffer.alloc((driver === 'devicemapper' ? 6 : 9) * MB))
      await expect(store.save('middle:1', join(disk, 'saved.tar'))).rejects.toMatchObject({
        code: 'NO_SPACE',
      })
      expect(readdirSync(disk).toSorted()).toEqual(['filler', 'root'])
    })

    function open(): Promise<Store> {
      return openStore({ root: join(disk, 'root'), driver, engine, ...options } as OpenStoreOptions)
    }
  },
)

/** An archive of one image with a layer for each size, in MB. */
async function archive(name: string, ...sizes: readonly number[]): Promise<string> {
  const path = join(scratch, `${name}.tar`)
  const layers = await Promise.all(
    sizes.map((size, index) => layerTar([{ name: `file-${index}`, content: `${index}`.repeat(size * MB) }])),
  )
  await writeArchive(path, imageOf(layers, `${name}:1`))
  return path
}

async function contentOf(store: Store) {
  return {
    images: (await store.images()).map(({ id }) => id).toSorted(),
    layers: (await layersOf(store).list()).length,
    driver: (await driverOf(store).list()).length,
  }
}
