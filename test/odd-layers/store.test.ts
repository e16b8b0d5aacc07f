/** @module-tag thorough */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { oddLayers, outlineOf, refusedLayers } from '#layerstack/conformance/index.js'
import { chainIds } from '#layerstack/digest.js'
import { openStore, type Container, type Image, type Store } from '#layerstack/index.js'
import { btrfsFixture, type BtrfsFixture } from '../drivers/btrfs-fixture.js'
import { digestOf } from '../store/archive.js'
import { enterDirectory } from '../support/ledger.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { named, outlineOfTars, writeImage } from './odd-image.js'
import { configurations } from './configurations.js'
import { layersOf } from '../support/store-parts.js'

const FIRST = oddLayers[0]?.layers ?? []
/** Without these limits, a layer is refused only for its fault. */
const LIFTED = { pathDepth: Infinity, pathLength: Infinity, unpackedBytes: Infinity }
/** A tmpfs if possible, because every load is synced to disk. */
const HOME = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

describe.each(configurations)('odd layers on $name', ({ reason, onBtrfs, options }) => {
  let scratch: string
  let btrfs: BtrfsFixture | undefined
  let store: Store

  beforeAll(async () => {
    if (reason !== undefined) return
    scratch = mkdtempSync(join(HOME, 'layerstack-odd-'))
    enterDirectory(scratch)
    if (onBtrfs === true) btrfs = await btrfsFixture('loop', HOME)
    store = await openStore({ root: join(btrfs?.path ?? scratch, 'root'), ...options })
    await inContainer(await load(FIRST), async () => undefined)
  })

  afterAll(async () => {
    if (reason !== undefined) return
    await store.close()
    await btrfs?.[Symbol.asyncDispose]()
    await removeTree(scratch)
  })

  it.each(named(oddLayers))(
    'give one tree in all views and are saved byte for byte: %s',
    unless(reason),
    async (_, odd) => {
      const image = await load(odd.layers)
      await expectSaved(image, odd.layers)
      await inContainer(image, async (container) => {
        expect(outlineOf(container.fs.syncFs)).toEqual(odd.tree)
        expect(await outlineOfTars([container.export()])).toEqual(odd.tree)
        await expectCommitted(container)
      })
      const flat = await store.flatten(image.id)
      expect(await outlineOfTars(tarsOf(flat))).toEqual(odd.tree)
      await store.remove(flat.id)
    },
  )

  it.each(named(refusedLayers))('are refused and leave no file: %s', unless(reason), async (_, layer) => {
    const before = state()
    await expect(load(layer.layers)).rejects.toMatchObject({ code: layer.code })
    expect(state()).toEqual(before)
  })

  it('leave the store undamaged', unless(reason), async () => {
    expect((await store.check()).problems).toEqual([])
  })

  async function load(layers: readonly Buffer[]): Promise<Image> {
    const archive = join(scratch, 'image.tar')
    await writeImage(archive, layers, 'odd:layer')
    const [image] = await store.load(archive, { limits: LIFTED })
    expect(image?.layers).toEqual(layers.map(digestOf))
    return image as Image
  }

  async function expectSaved(image: Image, layers: readonly Buffer[]): Promise<void> {
    const layout = join(scratch, 'layout')
    await store.save(image.id, layout, { format: 'oci-layout' })
    for (const layer of layers) {
      const blob = join(layout, 'blobs', digestOf(layer).replace(':', '/'))
      expect(readFileSync(blob).equals(layer)).toBe(true)
    }
    rmSync(layout, { recursive: true })
  }

  /** Commits changes of many kinds, and expects the same tree from the layers of the commit. */
  async function expectCommitted(container: Container): Promise<void> {
    await change(container)
    const committed = await container.commit()
    expect(await outlineOfTars(tarsOf(committed))).toEqual(outlineOf(container.fs.syncFs))
    await store.remove(committed.id)
  }

  function tarsOf({ layers }: Image): AsyncIterable<Uint8Array>[] {
    return chainIds(layers).map((id) => layersOf(store).tarStream(id))
  }

  async function inContainer(image: Image, work: (container: Container) => Promise<void>): Promise<void> {
    await using container = await store.createContainer(image.id)
    try {
      await work(container)
    } finally {
      await container.remove()
    }
  }

  /** Every path in the store's root. */
  function state(): string[] {
    return readdirSync(store.root, { recursive: true, encoding: 'latin1' }).toSorted()
  }
})

/** Links, chmods or removes each child of the root, so objects of all types are copied up or hidden. */
async function change({ fs }: Container): Promise<void> {
  for (const { name, type } of fs.syncFs.readdir(ROOT)) {
    const path = Buffer.from(name, 'latin1')
    if (type === 'directory') await fs.chmod(path, 0o701)
    else if (type === 'symlink' || name.length > 200) await fs.rm(path)
    else await fs.link(path, Buffer.concat([path, Buffer.from('~')]))
  }
  await fs.mkdir('made')
  await fs.writeFile('made/file', 'made')
}

const ROOT = '' as Parameters<Container['fs']['syncFs']['readdir']>[0]
