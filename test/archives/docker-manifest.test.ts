import { mkdtempSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { pack, type Header } from 'tar-stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { digestOf, imageOf, layerTar } from '../store/archive.js'
import { driverOf } from '../support/store-parts.js'

type Named = Partial<Header> & { readonly name: string }

const tar = await layerTar([{ name: 'file', content: 'content' }])
const { config } = imageOf([tar])
const manifest = { Config: 'config.json', RepoTags: ['app:1'], Layers: ['layer.tar'] }

let scratch: string
let store: Store

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-manifest-'))
  store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
})

afterEach(async () => {
  await store.close()
  rmSync(scratch, { recursive: true, force: true })
})

describe.each([
  ['uncompressed', (bytes: Buffer) => bytes],
  ['gzip', (bytes: Buffer) => gzipSync(bytes)],
])('a docker-archive (%s)', (_form, form) => {
  const load = async (document: unknown, ...layers: [Named, Buffer?][]) => {
    const path = join(scratch, 'image.tar')
    const documents: [Named, Buffer][] = [
      [{ name: 'config.json' }, config],
      [{ name: 'manifest.json' }, Buffer.from(JSON.stringify(document))],
    ]
    writeFileSync(path, form(await tarOf([...layers, ...documents])))
    return store.load(path)
  }

  it.each([
    [null],
    [{}],
    [[null]],
    [[{ ...manifest, Config: 3 }]],
    [[{ ...manifest, Layers: [3] }]],
    [[{ ...manifest, Layers: 'layer.tar' }]],
    [[{ ...manifest, Layers: ['layer.tar', 'layer.tar'] }]],
    [[{ ...manifest, RepoTags: 'app' }]],
    [[{ ...manifest, RepoTags: [null] }]],
    [[{ ...manifest, Config: '../../../etc/passwd' }]],
    [[{ ...manifest, Config: '__proto__' }]],
  ])('is MANIFEST_INVALID with the manifest %j', async (document) => {
    await refused(load(document, [{ name: 'layer.tar' }, tar]), 'MANIFEST_INVALID')
  })

  it('is refused for an invalid image name before a layer is read', async () => {
    const document = [{ ...manifest, RepoTags: ['A B'] }]
    await refused(load(document, [{ name: 'layer.tar' }, Buffer.from('no tar')]), 'REFERENCE_INVALID')
  })

  it('is loaded without image names', async () => {
    const [image] = await load([{ ...manifest, RepoTags: null }], [{ name: 'layer.tar' }, tar])
    expect(image).toMatchObject({ id: digestOf(config), references: [] })
  })

  it('is loaded if a layer is a hard link or a symlink', async () => {
    for (const type of ['link', 'symlink'] as const) {
      const linkname = type === 'link' ? 'a/real.tar' : '../a/real.tar'
      const document = [{ ...manifest, Layers: ['b/layer.tar'] }]
      const [image] = await load(
        document,
        [{ name: 'a/real.tar' }, tar],
        [{ name: 'b/layer.tar', type, linkname }],
      )
      expect(image?.layers).toEqual([digestOf(tar)])
      await store.remove(image?.id ?? '')
    }
  })

  it('is LAYER_MISSING if links to a layer form a loop or leave the archive', async () => {
    const circle: [Named][] = [
      [{ name: 'layer.tar', type: 'symlink', linkname: 'other' }],
      [{ name: 'other', type: 'symlink', linkname: 'layer.tar' }],
    ]
    await refused(load([manifest], ...circle), 'LAYER_MISSING')
    const outside = join(scratch, 'outside.tar')
    writeFileSync(outside, tar)
    for (const linkname of [outside, '../../../../../../../..' + outside]) {
      await refused(load([manifest], [{ name: 'layer.tar', type: 'symlink', linkname }]), 'LAYER_MISSING')
    }
  })

  it('is ARCHIVE_CORRUPT if a path climbs out of the archive', async () => {
    await refused(load([manifest], [{ name: '../layer.tar' }, tar]), 'ARCHIVE_CORRUPT')
    await refused(
      load([manifest], [{ name: 'layer.tar', type: 'link', linkname: '../../x' }]),
      'ARCHIVE_CORRUPT',
    )
  })
})

it('an archive older than manifest.json is ARCHIVE_UNSUPPORTED', async () => {
  const path = join(scratch, 'old.tar')
  writeFileSync(
    path,
    await tarOf([
      [{ name: 'a/layer.tar' }, tar],
      [{ name: 'repositories' }, Buffer.from('{}')],
    ]),
  )
  await refused(store.load(path), 'ARCHIVE_UNSUPPORTED')
})

it('load() does not follow symlinks in a directory', async () => {
  const directory = join(scratch, 'directory')
  mkdirSync(directory)
  writeFileSync(join(directory, 'manifest.json'), JSON.stringify([manifest]))
  writeFileSync(join(directory, 'config.json'), config)
  writeFileSync(join(scratch, 'outside.tar'), tar)
  symlinkSync('../outside.tar', join(directory, 'layer.tar'))
  await refused(store.load(directory), 'LAYER_MISSING')
})

async function tarOf(entries: readonly (readonly [Named, Buffer?])[]): Promise<Buffer> {
  const archive = pack()
  for (const [header, content = Buffer.alloc(0)] of entries) archive.entry(header, content)
  archive.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of archive) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

async function refused(loading: Promise<unknown>, code: string): Promise<void> {
  await expect(loading).rejects.toMatchObject({ name: 'StoreError', code })
  expect(await store.images()).toEqual([])
  expect(await driverOf(store).list()).toEqual([])
}
