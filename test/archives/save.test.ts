/** @module-tag every-identity */
import {
  createWriteStream,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type ArchiveFormat, type Compression, type Image, type Store } from '#layerstack/index.js'
import { digestOf, imageOf, layerTar, writeArchive } from '../store/archive.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const base = await layerTar([{ name: 'base', content: 'base'.repeat(100_000) }])
const upper = await layerTar([{ name: 'upper', content: 'upper' }])
const archives = ['docker-archive', 'docker-archive-legacy', 'oci-archive'] as const
const compressions = ['none', 'gzip', 'zstd'] as const
const forms: readonly [ArchiveFormat, Compression][] = [...archives, 'oci-layout' as const].flatMap(
  (format) => compressions.map((compression) => [format, compression] as [ArchiveFormat, Compression]),
)

let scratch: string
let store: Store
let image: Image
const path = (name: string) => join(scratch, name)

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-save-'))
  store = await openStore({ root: path('root'), engine: 'userspace' })
  await writeArchive(path('image.tar'), imageOf([base, upper, base], 'team/app:1'))
  image = (await store.load(path('image.tar')))[0] as Image
})

afterEach(async () => {
  await store.close()
  rmSync(scratch, { recursive: true, force: true })
})

describe.each(forms)('an image saved as %s, %s', (format, compression) => {
  it('loads as the same image under the same names', async () => {
    await store.tag(image.id, 'other:tag')
    await store.save(['team/app:1', 'other:tag'], path('saved'), { format, compression })
    await using second = await openStore({ root: path('second'), driver: 'vfs' })
    expect(await second.load(path('saved'))).toMatchObject([
      { id: image.id, layers: image.layers, references: ['other:tag', 'team/app:1'] },
    ])
    expect((await second.check()).problems).toEqual([])
  })

  it('has the same bytes each time', async () => {
    await store.save('team/app:1', path('one'), { format, compression })
    await store.save('team/app:1', path('two'), { format, compression })
    expect(contentOf(path('one'))).toEqual(contentOf(path('two')))
  })

  it('leaves no file if the save is aborted or a layer is damaged', async () => {
    const before = readdirSync(scratch).toSorted()
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(store.save('team/app:1', path('saved'), { format, compression, signal })).rejects.toThrow(
      'enough',
    )
    rmSync(join(await lowestDirectory(), 'base'))
    await expect(store.save('team/app:1', path('saved'), { format, compression })).rejects.toMatchObject({
      code: 'STORE_CORRUPT',
    })
    expect(readdirSync(scratch).toSorted()).toEqual(before)
  })
})

it('concurrent saves into one directory write complete archives', async () => {
  const names = Array.from({ length: 8 }, (_, index) => path(`saved-${index}`))
  await Promise.all(names.map((name) => store.save('team/app:1', name)))
  const saved = names.map((name) => digestOf(readFileSync(name)))
  await store.save('team/app:1', path('alone'))
  expect(new Set(saved)).toEqual(new Set([digestOf(readFileSync(path('alone')))]))
})

describe.each(archives)('a stream of a %s', (format) => {
  it('has the content of a saved file', async () => {
    await store.save('team/app:1', path('file'), { format })
    await store.save('team/app:1', createWriteStream(path('stream')), { format })
    expect(contentOf(path('stream'))).toEqual(contentOf(path('file')))
  })

  it('ends the save with its error if it fails', async () => {
    let count = 0
    const output = new Writable({
      write: (_chunk, _encoding, done) => done(++count > 3 ? new Error('no more') : null),
    })
    await expect(store.save('team/app:1', output, { format })).rejects.toMatchObject({
      code: 'SYSTEM',
      cause: { message: 'no more' },
    })
  })
})

describe('a closed stream', () => {
  it.each([
    ['was ended', (output: Writable) => void output.end()],
    ['was destroyed', (output: Writable) => void output.destroy()],
    [
      'is destroyed while it accepts no data',
      (output: Writable) => void setTimeout(() => output.destroy(), 50),
    ],
  ])('ends the save if it %s', async (_why, close) => {
    const output = new Writable({ write: () => undefined })
    close(output)
    await expect(store.save('team/app:1', output)).rejects.toMatchObject({
      name: 'StoreError',
      code: 'SYSTEM',
    })
  })
})

it('save() refuses to overwrite a file', async () => {
  await store.save('team/app:1', path('saved'))
  await expect(store.save('team/app:1', path('saved'))).rejects.toMatchObject({ code: 'NAME_CONFLICT' })
})

it('a repeated layer is a symlink in the legacy format', async () => {
  await store.save('team/app:1', path('saved'), { format: 'docker-archive-legacy' })
  execFileSync('mkdir', [path('open')])
  execFileSync('tar', ['-xf', path('saved'), '-C', path('open')])
  const [{ Layers: layers }] = JSON.parse(readFileSync(path('open/manifest.json'), 'utf8')) as [
    { Layers: string[] },
  ]
  expect(layers.map((name) => lstatSync(join(path('open'), name)).isSymbolicLink())).toEqual([
    false,
    false,
    true,
  ])
  expect(layers.map((name) => digestOf(readFileSync(join(path('open'), name))))).toEqual(image.layers)
})

it.each(['gzip', 'zstd'] as const)(
  'layers of an OCI layout are compressed with %s, each under its own digest',
  async (compression) => {
    await store.save('team/app:1', path('layout'), { format: 'oci-layout', compression })
    const blob = (digest: string) => readFileSync(join(path('layout'), 'blobs', digest.replace(':', '/')))
    const [{ digest }] = JSON.parse(readFileSync(path('layout/index.json'), 'utf8')).manifests
    const manifest = JSON.parse(blob(digest).toString())
    expect(manifest.config.digest).toBe(image.id)
    expect(manifest.layers.length).toBe(3)
    for (const layer of manifest.layers) {
      expect(layer.mediaType).toBe(`application/vnd.oci.image.layer.v1.tar+${compression}`)
      expect(digestOf(blob(layer.digest))).toBe(layer.digest)
      expect(blob(layer.digest).length).toBe(layer.size)
    }
    expect(
      statSync(join(path('layout'), 'blobs', manifest.layers[0].digest.replace(':', '/'))).size,
    ).toBeLessThan(base.length / 10)
  },
)

/** The directory with the lowest layer's files. */
async function lowestDirectory(): Promise<string> {
  const low = (await layersOf(store).list()).find(({ parent }) => parent === undefined)
  return (await driverOf(store).metadata(low?.cacheId ?? ''))['UpperDir'] as string
}

function contentOf(saved: string): string[] {
  if (!existsSync(saved)) return []
  if (!statSync(saved).isDirectory()) return [digestOf(readFileSync(saved))]
  const names = readdirSync(saved, { recursive: true, encoding: 'utf8' }).toSorted()
  return names.map((name) => {
    const full = join(saved, name)
    return statSync(full).isDirectory() ? name : `${name} ${digestOf(readFileSync(full))}`
  })
}
