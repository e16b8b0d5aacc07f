import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chainIds } from '#layerstack/digest.js'
import { openStore, type Image, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const base = await layerTar([{ name: 'base', content: 'base' }])
const upper = await layerTar([{ name: 'upper', content: 'upper!' }])
const other = await layerTar([{ name: 'other', content: 'other?!' }])

let scratch: string
let store: Store

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-catalog-'))
  store = await openStore({ root: join(scratch, 'root'), engine: 'userspace' })
})

afterEach(async () => {
  await store.close()
  rmSync(scratch, { recursive: true, force: true })
})

describe('remove() of an image', () => {
  it('removes one of two names and keeps the image', async () => {
    const image = await load([base], 'app:1')
    await store.tag(image.id, 'app:2')
    expect(await store.remove('app:1')).toEqual({ untagged: ['app:1'], deleted: [] })
    expect((await store.image('app:2')).references).toEqual(['app:2'])
  })

  it('refuses the ID of an image with two names unless `force` is set', async () => {
    const image = await load([base], 'app:1')
    await store.tag(image.id, 'app:2')
    await expect(store.remove(image.id)).rejects.toMatchObject({ code: 'REFERENCE_CONFLICT' })
    expect(await store.remove(image.id, { force: true })).toEqual({
      untagged: ['app:1', 'app:2'],
      deleted: [image.id],
    })
    expect(await counts()).toEqual({ images: 0, layers: 0, driver: 0 })
  })

  it('keeps layers that another image uses', async () => {
    await load([base], 'app:1')
    await load([base, upper], 'app:2')
    await store.remove('app:2')
    expect(await counts()).toEqual({ images: 1, layers: 1, driver: 1 })
    await using container = await store.createContainer('app:1')
    expect(await container.fs.readFile('/base', 'utf8')).toBe('base')
  })

  it('refuses an image that a container uses even if `force` is set', async () => {
    await load([base], 'app:1')
    const container = await store.createContainer('app:1')
    await expect(store.remove('app:1', { force: true })).rejects.toMatchObject({ code: 'IMAGE_IN_USE' })
    await container.remove()
    await store.remove('app:1')
    expect(await counts()).toEqual({ images: 0, layers: 0, driver: 0 })
  })

  it('refuses the ID of a parent image, untags it by name, and deletes it with its last child', async () => {
    const parent = await load([base], 'app:1')
    const child = await committed('app:1', 'app:2')
    await expect(store.remove(parent.id)).rejects.toMatchObject({ code: 'IMAGE_IN_USE' })
    expect(await store.remove('app:1')).toEqual({ untagged: ['app:1'], deleted: [] })
    expect((await store.inspect(child.id)).parent).toBe(parent.id)
    expect((await store.remove('app:2')).deleted).toEqual([child.id, parent.id])
    expect(await counts()).toEqual({ images: 0, layers: 0, driver: 0 })
  })
})

describe('prune()', () => {
  it('removes images without a name and keeps the others', async () => {
    await load([base], 'app:1')
    await load([base, upper], 'app:1')
    const pruned = await store.prune()
    expect(pruned).toMatchObject({ untagged: [], layers: [], reclaimed: 0 })
    expect(pruned.images.length).toBe(1)
    expect((await store.images()).flatMap(({ references }) => references)).toEqual(['app:1'])
  })

  it('removes every image that no container uses if `all` is set', async () => {
    await load([base], 'app:1')
    await load([other], 'app:2')
    await using _container = await store.createContainer('app:2')
    const pruned = await store.prune({ all: true })
    expect(pruned).toMatchObject({ untagged: ['app:1'], reclaimed: 4 })
    expect((await store.images()).flatMap(({ references }) => references)).toEqual(['app:2'])
  })

  it('removes layers that no image uses and keeps pinned layers', async () => {
    const low = await layersOf(store).register({ chunks: chunks(base) })
    const high = await layersOf(store).register({ chunks: chunks(upper) }, { parent: low.chainId })
    {
      await using _pin = await layersOf(store).pin([high.chainId])
      expect((await store.prune()).layers).toEqual([])
    }
    expect(await store.prune()).toMatchObject({ layers: [low.chainId, high.chainId], reclaimed: 10 })
    expect(await counts()).toEqual({ images: 0, layers: 0, driver: 0 })
  })
})

it('diskUsage() counts used, shared and reclaimable bytes', async () => {
  const one = await load([base, upper], 'app:1')
  const two = await load([base, other], 'app:2')
  await using container = await store.createContainer('app:1', { name: 'writer' })
  await container.fs.writeFile('/new', 'ten bytes!')
  const usage = await store.diskUsage()
  expect(usage.layersSize).toBe(4 + 6 + 7)
  expect(usage.reclaimable).toBe(7)
  expect(usage.containers).toMatchObject([{ name: 'writer', size: 10 }])
  expect(usage.images).toEqual(
    expect.arrayContaining([
      { id: one.id, references: ['app:1'], size: 10, sharedSize: 4, containers: 1 },
      { id: two.id, references: ['app:2'], size: 11, sharedSize: 4, containers: 0 },
    ]),
  )
})

describe('check()', () => {
  it('reports no problems in an intact store', async () => {
    await load([base, upper], 'app:1')
    await using _container = await store.createContainer('app:1')
    expect(await store.check()).toEqual({ clean: true, problems: [], layers: 2, images: 1 })
  })

  it('reports a changed file, and removes its layer only if `discard` is set', async () => {
    const image = await load([base, upper], 'app:1')
    const [low, high] = chainIds(image.layers)
    writeFileSync(join(await directoryOf(low), 'base'), 'lies')
    const expected = [
      { kind: 'layer-unfounded', id: high, repaired: false },
      { kind: 'layer-damaged', id: low, repaired: false },
    ]
    expect(await store.check()).toMatchObject({ clean: false, problems: expected })
    expect((await store.check({ content: false })).clean).toBe(true)
    expect(await store.check({ repair: true })).toMatchObject({ clean: false, problems: expected })
    const repaired = await store.check({ repair: true, discard: true })
    expect(repaired.problems.map(({ kind }) => kind)).toEqual([
      'layer-unfounded',
      'layer-damaged',
      'image-incomplete',
    ])
    await load([base, upper], 'app:1')
    expect((await store.check()).clean).toBe(true)
    await using container = await store.createContainer('app:1')
    expect(await container.fs.readFile('/base', 'utf8')).toBe('base')
  })

  it('rebuilds a damaged layer from an archive below the layers and containers that use it', async () => {
    const image = await load([base, upper], 'app:1')
    const container = await store.createContainer('app:1', { name: 'above' })
    await container.fs.writeFile('/mine', 'mine')
    await container.unmount()
    const [low] = chainIds(image.layers)
    writeFileSync(join(await directoryOf(low), 'base'), 'lies')
    const { clean, problems } = await store.check({ repair: true, from: join(scratch, 'image.tar') })
    expect({ clean, problems }).toMatchObject({
      clean: true,
      problems: [{ kind: 'layer-damaged', id: low, repaired: true }],
    })
    expect(await store.check()).toMatchObject({ clean: true, problems: [] })
    await using again = await store.openContainer('above')
    expect(await again.fs.readFile('/base', 'utf8')).toBe('base')
    expect(await again.fs.readFile('/mine', 'utf8')).toBe('mine')
  })

  it('restores a missing layer and a damaged config from an archive', async () => {
    const image = await load([base, upper], 'app:1')
    const [, high] = chainIds(image.layers)
    await layersOf(store).remove(high as never)
    const content = join(store.root, 'image', store.driver.name, 'imagedb/content/sha256')
    writeFileSync(join(content, image.id.slice('sha256:'.length)), '{}')
    const { clean, problems } = await store.check({ repair: true, from: join(scratch, 'image.tar') })
    expect({ clean, kinds: problems.map(({ kind }) => kind) }).toEqual({
      clean: true,
      kinds: ['image-damaged', 'image-incomplete'],
    })
    expect(await store.check()).toMatchObject({ clean: true, problems: [] })
  })

  it('keeps a damaged layer that a container uses', async () => {
    const image = await load([base], 'app:1')
    await using container = await store.createContainer('app:1')
    writeFileSync(join(await directoryOf(image.chainId), 'base'), 'lies')
    const { clean, problems } = await store.check({ repair: true, discard: true })
    expect({ clean, problems }).toMatchObject({
      clean: false,
      problems: [{ kind: 'layer-damaged', repaired: false }],
    })
    expect(await container.fs.readFile('/base', 'utf8')).toBe('lies')
  })

  it('refuses `from` and `discard` without `repair`', async () => {
    await expect(store.check({ discard: true })).rejects.toThrow(TypeError)
    await expect(store.check({ from: 'image.tar' })).rejects.toThrow(TypeError)
  })

  it('reports and removes orphans', async () => {
    await driverOf(store).create('0'.repeat(64))
    expect((await store.check({ repair: true })).problems).toMatchObject([
      { kind: 'driver-orphan', id: '0'.repeat(64), repaired: true },
    ])
    expect(await driverOf(store).list()).toEqual([])
  })

  it('reports a missing driver layer, a changed config and a dangling reference', async () => {
    const image = await load([base], 'app:1')
    const second = await load([other], 'app:2')
    await driverOf(store).remove((await layersOf(store).require(chainIds(image.layers)[0] as never)).cacheId)
    const content = join(store.root, 'image', store.driver.name, 'imagedb/content/sha256')
    writeFileSync(join(content, second.id.slice('sha256:'.length)), '{}')
    const first = await store.check({ repair: true, discard: true })
    expect(first.problems.map(({ kind, repaired }) => `${kind} ${repaired}`).toSorted()).toEqual([
      'image-damaged true',
      'image-incomplete false',
      'layer-damaged true',
      'reference-dangling true',
    ])
    await load([base], 'app:1')
    expect((await store.check()).clean).toBe(true)
  })

  it('restores the missing record of a container and ignores containers of dockerd', async () => {
    const image = await load([base], 'app:1')
    await using container = await store.createContainer('app:1', { name: 'named' })
    await container.fs.writeFile('/kept', 'kept')
    await container.unmount()
    const { id } = container
    rmSync(join(store.root, 'layerstack/containers', store.driver.name, `${id}.json`))
    await layersOf(store).writables.create('d'.repeat(64), image.chainId as never, undefined)
    mkdirSync(join(store.root, 'containers', 'd'.repeat(64)), { recursive: true })
    const expected = { kind: 'container-damaged', id, detail: 'it has no record' }
    expect((await store.check()).problems).toMatchObject([{ ...expected, repaired: false }])
    expect(await store.containers()).toEqual([])
    expect((await store.check({ repair: true })).problems).toMatchObject([{ ...expected, repaired: true }])
    expect(await store.containers()).toMatchObject([{ id, name: id.slice(0, 12), image: image.id }])
    await using again = await store.openContainer(id)
    expect(await again.fs.readFile('/kept', 'utf8')).toBe('kept')
    expect((await store.check()).clean).toBe(true)
  })

  it('reports and removes a container without a writable layer', async () => {
    await load([base], 'app:1')
    const container = await store.createContainer('app:1')
    await container.unmount()
    await layersOf(store).writables.remove(container.id)
    expect((await store.check({ repair: true })).problems).toMatchObject([
      { kind: 'container-damaged', id: container.id, repaired: true },
    ])
    expect(await store.containers()).toEqual([])
  })
})

it('openStore() refuses a root of a later format and adds no files to it', async () => {
  await store.close()
  writeFileSync(join(store.root, 'layerstack/format'), '2\n')
  const before = readdirSync(store.root, { recursive: true }).toSorted()
  await expect(openStore({ root: store.root })).rejects.toMatchObject({ code: 'STORE_FOREIGN' })
  expect(readdirSync(store.root, { recursive: true }).toSorted()).toEqual(before)
})

it('a failing load() keeps only the layers that existed before', async () => {
  const path = join(scratch, 'bad.tar')
  const parts = imageOf([base, upper])
  await load([base], 'app:1')
  await writeArchive(path, {
    ...parts,
    layers: new Map([...parts.layers].map(([name, tar], index) => [name, index === 0 ? tar : other])),
  })
  await expect(store.load(path)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' })
  expect(await counts()).toEqual({ images: 1, layers: 1, driver: 1 })
})

async function load(layers: readonly Buffer[], tag: string): Promise<Image> {
  const path = join(scratch, 'image.tar')
  await writeArchive(path, imageOf(layers, tag))
  const [image] = await store.load(path)
  return image as Image
}

async function committed(from: string, reference: string): Promise<Image> {
  const container = await store.createContainer(from)
  await container.fs.writeFile('/committed', 'committed')
  return container.commit({ reference, consume: true })
}

async function directoryOf(chain: string | undefined): Promise<string> {
  const { cacheId } = await layersOf(store).require(chain as never)
  return (await driverOf(store).metadata(cacheId))['UpperDir'] as string
}

async function counts() {
  return {
    images: (await store.images()).length,
    layers: (await layersOf(store).list()).length,
    driver: (await driverOf(store).list()).length,
  }
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes
}
