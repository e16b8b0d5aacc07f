/** @module-tag every-identity */
import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Lock } from '#layerstack/durable/lock.js'
import { builtInDrivers, openStore, type Store } from '#layerstack/index.js'
import { loopTurns } from '../support/loop-turns.js'
import { unless } from '../support/needs.js'
import { optionsOf, storeSettings } from './settings.js'
import { digestOf, imageOf, layerTar, writeArchive, type ArchiveParts } from './archive.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const base = await layerTar([
  { name: 'etc/', type: 'directory', mode: 0o755 },
  { name: 'etc/motd', content: 'hello\n' },
  { name: 'etc/gone', content: 'soon\n' },
  { name: 'dir/', type: 'directory', mode: 0o750 },
  { name: 'dir/one', content: '1' },
  { name: 'dir/two', content: '2' },
  { name: 'link', type: 'symlink', linkname: '/etc/motd' },
])
const upper = await layerTar([
  { name: 'etc/.wh.gone' },
  { name: 'dir/', type: 'directory', mode: 0o755 },
  { name: 'dir/.wh..wh..opq' },
  { name: 'dir/three', content: '3' },
  { name: 'dir/twin', type: 'link', linkname: 'dir/three' },
])
const parts = imageOf([base, upper])

let scratch: string
let store: Store | undefined

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-store-'))
})

afterEach(async () => {
  await store?.close()
  store = undefined
  rmSync(scratch, { recursive: true, force: true })
})

for (const settings of storeSettings) {
  const options = optionsOf(settings)
  describe(`Store on ${settings.name}`, unless(settings.reason), () => {
    it('loads an image under the digests of its config and layers', async () => {
      const image = await loaded(options)
      expect(image.id).toBe(digestOf(parts.config))
      expect(image.layers).toEqual([digestOf(base), digestOf(upper)])
      expect(image.references).toEqual(['test/app:1'])
    })

    it('merges the layers of an image in the tree of a container', async () => {
      await loaded(options)
      await using container = await (store as Store).createContainer('test/app:1')
      expect((await container.fs.readdir('/')).toSorted()).toEqual(['dir', 'etc', 'link'])
      expect(await container.fs.readdir('/etc')).toEqual(['motd'])
      expect((await container.fs.readdir('/dir')).toSorted()).toEqual(['three', 'twin'])
      expect(await container.fs.readFile('/link', 'utf8')).toBe('hello\n')
      expect(await container.fs.readFile('/dir/twin', 'utf8')).toBe('3')
    })

    it('reports the changes of a container', async () => {
      await loaded(options)
      await using container = await (store as Store).createContainer('test/app:1')
      await container.fs.appendFile('/etc/motd', 'more\n')
      await container.fs.rm('/dir/twin')
      await container.fs.writeFile('/new', '')
      const changes = await collected(container.changes())
      expect(changes.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
        'modify /dir',
        'delete /dir/twin',
        'modify /etc',
        'modify /etc/motd',
        'add /new',
      ])
    })

    it('exports a container without blocking the event loop', async () => {
      await loaded(options)
      await using container = await (store as Store).createContainer('test/app:1')
      await container.fs.writeFile('/large', '')
      await container.fs.truncate('/large', 512 << 20)
      let size = 0
      const read = async (): Promise<void> => {
        for await (const { length } of container.export()) size += length
      }
      expect(await loopTurns(read())).toBeGreaterThan(3)
      expect(size).toBeGreaterThan(512 << 20)
    })

    it('commits the same layer with and without `consume`', async () => {
      await loaded(options)
      const ids = []
      for (const consume of [false, true]) {
        const container = await (store as Store).createContainer('test/app:1')
        await container.fs.writeFile('/new', 'content')
        await container.fs.utimes('/new', 1_600_000_000n, 1_600_000_000n)
        const image = await container.commit({
          reference: `test/app:${consume}`,
          consume,
          config: ['ENV A=b'],
        })
        expect(image.config.config?.Env).toEqual(['PATH=/bin', 'A=b'])
        ids.push(image.layers.at(-1))
        await container.unmount()
      }
      expect(ids[0]).toBe(ids[1])
      expect((await (store as Store).containers()).length).toBe(1)
    })

    it('flattens an image into one layer with the same tree', async () => {
      await loaded(options)
      const flat = await (store as Store).flatten('test/app:1', { reference: 'test/flat' })
      expect(flat.layers.length).toBe(1)
      await using container = await (store as Store).createContainer('test/flat')
      expect(await container.fs.readdir('/etc')).toEqual(['motd'])
      expect((await container.fs.readdir('/dir')).toSorted()).toEqual(['three', 'twin'])
      expect((await container.fs.lstat('/dir/three')).nlink).toBe(2)
    })

    it.each(['docker-archive', 'oci-archive', 'oci-layout'] as const)(
      'saves an image as %s and loads it with the same ID',
      async (format) => {
        const image = await loaded(options)
        const path = join(scratch, 'saved')
        await (store as Store).save('test/app:1', path, { format })
        await using second = await openStore({ root: join(scratch, 'second'), ...options })
        const [again] = await second.load(path)
        expect(again?.id).toBe(image.id)
        expect(again?.references).toEqual(['test/app:1'])
      },
    )

    it('inspects the parent of an image and the paths of its driver layer', async () => {
      const image = await loaded(options)
      const container = await (store as Store).createContainer(image.id)
      await container.fs.writeFile('/new', '')
      const child = await container.commit()
      await container.remove()
      const inspected = await (store as Store).inspect(child.id)
      expect(inspected).toMatchObject({
        id: child.id,
        parent: image.id,
        graphDriver: { name: settings.driver },
      })
      for (const path of Object.values(inspected.graphDriver.data).flatMap((value) => value.split(':'))) {
        if (!path.includes('/')) continue
        expect(path).toContain((store as Store).root)
      }
    })

    it('unmounts a container and mounts it again', async () => {
      const image = await loaded(options)
      await using container = await (store as Store).createContainer(image.id, { name: 'sleeper' })
      await container.fs.writeFile('/kept', 'kept')
      await container.unmount()
      await container.unmount()
      expect(() => container.fs).toThrow(expect.objectContaining({ code: 'CONTAINER_UNMOUNTED' }))
      if ((store as Store).driver.capabilities.hostPath) {
        expect(readFileSync(join(await container.mount(), 'kept'), 'utf8')).toBe('kept')
      } else {
        await expect(container.mount()).rejects.toMatchObject({ code: 'HOST_PATH_UNAVAILABLE' })
      }
      expect(await container.fs.readFile('/kept', 'utf8')).toBe('kept')
    })

    it('refuses to remove a container that another store has mounted', async () => {
      const image = await loaded(options)
      await using other = await openStore({ root: join(scratch, 'root'), ...options })
      await using mounted = await (store as Store).createContainer(image.id, { name: 'shared' })
      await mounted.unmount()
      await using _there = await other.openContainer('shared')
      await expect(mounted.remove()).rejects.toMatchObject({ code: 'CONTAINER_IN_USE' })
    })

    it('keeps a container if two concurrent removals fail because another store has mounted it', async () => {
      const image = await loaded(options)
      await using other = await openStore({ root: join(scratch, 'root'), ...options })
      const container = await (store as Store).createContainer(image.id, { name: 'shared' })
      await container.unmount()
      await using there = await other.openContainer('shared')
      for (let round = 0; round < 5; round++) {
        await using third = await openStore({ root: join(scratch, 'root'), ...options })
        await using twin = await third.openContainer('shared').catch(() => undefined)
        await twin?.unmount()
        const removals = await Promise.allSettled([container.remove(), twin?.remove() ?? container.remove()])
        for (const removal of removals) {
          expect(removal).toMatchObject({ status: 'rejected', reason: { code: 'CONTAINER_IN_USE' } })
        }
        expect((await (store as Store).containers()).map(({ name }) => name)).toEqual(['shared'])
      }
      expect(await there.fs.exists('/')).toBe(true)
      expect((await (store as Store).check()).problems).toEqual([])
    })

    it('protects the layer of an unfinished commit from prune() in another store', async () => {
      const image = await loaded(options)
      await using other = await openStore({ root: join(scratch, 'root'), ...options })
      for (const consume of [true, false]) {
        const container = await (store as Store).createContainer(image.id)
        await container.fs.writeFile('/new', `consume: ${consume}`)
        await container.unmount()
        const ended = new AbortController()
        const commit = container
          .commit({ consume, reference: `kept:${consume}` })
          .finally(() => ended.abort())
        while (!ended.signal.aborted) await other.prune()
        expect((await commit).layers.length).toBe(image.layers.length + 1)
        if (!consume) await container.remove()
      }
    })

    it('refuses to consume a container that another store has mounted', async () => {
      const image = await loaded(options)
      await using other = await openStore({ root: join(scratch, 'root'), ...options })
      await using container = await (store as Store).createContainer(image.id, { name: 'shared' })
      await container.fs.writeFile('/new', 'new')
      await container.unmount()
      const there = await other.openContainer('shared')
      await expect(container.commit({ consume: true })).rejects.toMatchObject({ code: 'CONTAINER_IN_USE' })
      expect((await (store as Store).check()).problems).toEqual([])
      await there.unmount()
      expect((await container.commit({ consume: true })).layers.length).toBe(image.layers.length + 1)
    })

    it('refuses to remove a writable layer during its commit', async () => {
      const image = await loaded(options)
      const container = await (store as Store).createContainer(image.id)
      await container.fs.writeFile('/new', randomBytes(48 << 20))
      await using other = await openStore({ root: join(scratch, 'root'), ...options })
      const begun = new EventEmitter()
      const commit = container.commit({ onProgress: ({ type }) => begun.emit(type) })
      await once(begun, 'layer:commit')
      const removal = layersOf(other).writables.remove(container.id)
      await expect(removal).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
      expect((await commit).layers.length).toBe(image.layers.length + 1)
      await container.remove()
    })

    it('reports no problem for a container whose removal is in progress', async () => {
      const image = await loaded(options)
      const container = await (store as Store).createContainer(image.id)
      await using other = await openStore({ root: join(scratch, 'root'), ...options })
      const { mountId } = await layersOf(other).writables.require(container.id)
      const lock = await Lock.acquire(join(scratch, 'root/layerstack/images.lock'))
      const removal = container.remove()
      while (await driverOf(other).exists(mountId)) await sleep(5)
      const { problems } = await other.check({ content: false })
      await lock.release()
      await removal
      expect(problems).toEqual([])
    })

    it('removes an image together with its layers and driver layers', async () => {
      await loaded(options)
      await (store as Store).remove('test/app:1')
      expect(await (store as Store).images()).toEqual([])
      expect(await driverOf(store as Store).list()).toEqual([])
      expect(await layersOf(store as Store).list()).toEqual([])
    })

    it('refuses to remove an image that a container uses', async () => {
      await loaded(options)
      await using _container = await (store as Store).createContainer('test/app:1', { name: 'keeper' })
      await expect((store as Store).remove('test/app:1')).rejects.toMatchObject({ code: 'IMAGE_IN_USE' })
    })
  })
}

describe('load() of an invalid archive', () => {
  const damaged: readonly [string, (parts: ArchiveParts) => ArchiveParts, string][] = [
    ['a config that is not JSON', (good) => ({ ...good, config: Buffer.from('{') }), 'CONFIG_INVALID'],
    ['a manifest that is not JSON', (good) => ({ ...good, manifest: Buffer.from('[') }), 'MANIFEST_INVALID'],
    [
      'a missing layer',
      (good) => ({ ...good, layers: new Map([...good.layers].slice(0, 1)) }),
      'LAYER_MISSING',
    ],
    [
      'a layer with another DiffID',
      (good) => ({ ...good, layers: new Map([...good.layers.keys()].map((name) => [name, upper])) }),
      'DIGEST_MISMATCH',
    ],
    [
      'a truncated layer',
      (good) => ({
        ...good,
        layers: new Map([...good.layers].map(([name, bytes]) => [name, bytes.subarray(0, 700)])),
      }),
      'ARCHIVE_TRUNCATED',
    ],
    [
      'a layer in an unknown compression',
      (good) => ({
        ...good,
        layers: new Map([...good.layers.keys()].map((name) => [name, Buffer.from('BZh91AY&SY')])),
      }),
      'ARCHIVE_UNSUPPORTED',
    ],
  ]

  it.each(damaged)('rejects %s with a StoreError and stores nothing', async (_case, damage, code) => {
    const path = join(scratch, 'bad.tar')
    await writeArchive(path, damage(parts))
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    await expect(store.load(path)).rejects.toMatchObject({ name: 'StoreError', code })
    expect(await store.images()).toEqual([])
    expect(await layersOf(store).list()).toEqual([])
    expect(await driverOf(store).list()).toEqual([])
    expect((await store.check()).problems).toEqual([])
    expect(readdirSync(join(scratch, 'root/image/vfs/layerdb/tmp'))).toEqual([])
  })

  it('rejects a missing file with SYSTEM and the errno', async () => {
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    await expect(store.load(join(scratch, 'none.tar'))).rejects.toMatchObject({
      name: 'StoreError',
      code: 'SYSTEM',
      errno: 'ENOENT',
    })
  })

  it('rejects input that is neither a path nor a stream with a TypeError, and creates no files', async () => {
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    const before = readdirSync(scratch, { recursive: true }).toSorted()
    for (const input of [undefined, null, 7, Buffer.from('tar'), ['chunk']]) {
      await expect(store.load(input as never)).rejects.toThrow(TypeError)
      await expect(store.import(input as never)).rejects.toThrow(TypeError)
    }
    expect(readdirSync(scratch, { recursive: true }).toSorted()).toEqual(before)
  })

  it('rejects a truncated archive with ARCHIVE_TRUNCATED', async () => {
    const path = join(scratch, 'bad.tar')
    await writeArchive(path, parts)
    writeFileSync(path, readFileSync(path).subarray(0, 3000))
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    await expect(store.load(path)).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' })
  })

  it('rejects a layer with an entry above the root with LAYER_INVALID', async () => {
    const layer = await layerTar([{ name: '../../escaped', content: 'x' }])
    const path = join(scratch, 'bad.tar')
    await writeArchive(path, imageOf([layer]))
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    await expect(store.load(path)).rejects.toMatchObject({ code: 'LAYER_INVALID' })
    expect(await driverOf(store).list()).toEqual([])
  })
})

describe('load()', () => {
  it('accepts a gzip-compressed archive and a stream', async () => {
    const path = join(scratch, 'app.tar')
    await writeArchive(path, parts)
    writeFileSync(`${path}.gz`, gzipSync(readFileSync(path)))
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    expect((await store.load(`${path}.gz`))[0]?.id).toBe(digestOf(parts.config))
    const bytes = readFileSync(path)
    const pieces = (async function* () {
      for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000)
    })()
    expect((await store.load(pieces))[0]?.id).toBe(digestOf(parts.config))
  })

  it('stores nothing if its signal is aborted', async () => {
    const path = join(scratch, 'app.tar')
    await writeArchive(path, parts)
    store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
    const reason = new Error('enough')
    await expect(store.load(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(await driverOf(store).list()).toEqual([])
  })

  it('skips layers that already exist', async () => {
    await loaded({ driver: 'vfs' })
    const seen: string[] = []
    await (store as Store).load(join(scratch, 'app.tar'), { onProgress: ({ type }) => void seen.push(type) })
    expect(seen).toEqual(['layer:exists', 'layer:exists', 'image:stored'])
  })
})

it('openStore() without a driver selects a built-in driver', async () => {
  store = await openStore({ root: join(scratch, 'root') })
  expect([...builtInDrivers()].map(({ name }) => name)).toContain(store.driver.name)
})

async function loaded(options: ReturnType<typeof optionsOf>) {
  const path = join(scratch, 'app.tar')
  await writeArchive(path, parts)
  store = await openStore({ root: join(scratch, 'root'), ...options })
  const [image] = await store.load(path)
  if (image === undefined) throw new Error('load() returned no image')
  return image
}

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
