import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { layerTar } from '../store/archive.js'
import { LAYER, Layout, MANIFEST, named, platform } from './layout.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const tar = await layerTar([{ name: 'file', content: 'content' }])
const machine = process.arch === 'x64' ? 'amd64' : process.arch
const absent = { mediaType: MANIFEST, digest: `sha256:${'a'.repeat(64)}`, size: 10 }

let scratch: string
let store: Store
let layout: Layout

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-oci-'))
  store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
  layout = new Layout(join(scratch, 'layout'))
})

afterEach(async () => {
  await store.close()
  rmSync(scratch, { recursive: true, force: true })
})

describe('an index for several platforms', () => {
  const all = () => ['s390x', machine, 'mips64'].map((name) => layout.image([tar], platform(name)))

  it("selects the host platform, under the index's name", async () => {
    const path = layout.index({ manifests: [layout.nested(all(), named('docker.io/team/app:1'))] })
    expect(await architectures(path)).toEqual([`${machine} team/app:1`])
  })

  it('selects the requested platform, and lists the available ones if it is missing', async () => {
    const path = layout.index({ manifests: [layout.nested(all(), named('docker.io/team/app:1'))] })
    expect(await architectures(path, 'linux/mips64')).toEqual(['mips64 team/app:1'])
    await expect(store.load(path, { platform: 'linux/riscv64' })).rejects.toMatchObject({
      code: 'MANIFEST_INVALID',
      message: expect.stringContaining(`linux/s390x, linux/${machine}, linux/mips64`),
    })
    await expect(store.load(path, { platform: 'mips64' })).rejects.toThrow(TypeError)
  })

  it('distinguishes variants', async () => {
    const images = ['v6', 'v7'].map((variant) => layout.image([tar], platform('arm', variant)))
    const path = layout.index({ manifests: [layout.nested(images)] })
    const [image] = await store.load(path, { platform: 'linux/arm/v7' })
    expect(image?.config.variant).toBe('v7')
  })

  it('ignores images that are missing from the archive', async () => {
    const there = layout.image([tar], platform('s390x'))
    const path = layout.index({
      manifests: [layout.nested([{ ...absent, ...platform('mips64') }, there])],
    })
    expect(await architectures(path)).toEqual(['s390x '])
  })

  it('may list its images in index.json, all under one name', async () => {
    const images = all().map((image) => ({ ...image, ...named('docker.io/team/app:1') }))
    expect(await architectures(layout.index({ manifests: images }))).toEqual([`${machine} team/app:1`])
  })

  it('ignores attestations of BuildKit', async () => {
    const statement = layout.blob(Buffer.from('{"_type":"in-toto"}'), 'application/vnd.in-toto+json')
    const annotations = { 'vnd.docker.reference.type': 'attestation-manifest' }
    const unknown = { platform: { os: 'unknown', architecture: 'unknown' }, annotations }
    const attestation = layout.image([tar], unknown, [statement])
    const images = [layout.image([tar], platform(machine)), attestation]
    expect(await architectures(layout.index({ manifests: [layout.nested(images)] }))).toEqual([`${machine} `])
  })
})

it('images without platforms are all loaded, each under its own name', async () => {
  const other = await layerTar([{ name: 'other' }])
  const images = [layout.image([tar], named('docker.io/a:1')), layout.image([other], named('docker.io/b:1'))]
  const loaded = await store.load(layout.index({ manifests: [layout.nested(images)] }))
  expect(loaded.map(({ references }) => references)).toEqual([['a:1'], ['b:1']])
})

it('an OCI ref.name that is not a reference gives the image no name', async () => {
  const annotations = { 'org.opencontainers.image.ref.name': 'Some: text/' }
  const path = layout.index({ manifests: [layout.image([tar], { annotations })] })
  expect((await store.load(path))[0]?.references).toEqual([])
})

it('an image without layers is loaded', async () => {
  expect((await store.load(layout.index({ manifests: [layout.image([])] })))[0]?.layers).toEqual([])
})

describe('a blob that does not match its descriptor', () => {
  it.each([
    [
      'a recompressed layer',
      (digest: string) => writeFileSync(layout.file(digest), gzipSync(tar, { level: 1 })),
    ],
    ['a truncated layer', (digest: string) => truncateSync(layout.file(digest), 20)],
  ])('is DIGEST_MISMATCH: %s', async (_what, damage) => {
    const packed = layout.blob(gzipSync(tar), `${LAYER}+gzip`)
    damage(packed.digest)
    await refused(layout.index({ manifests: [layout.image([tar], {}, [packed])] }), 'DIGEST_MISMATCH')
  })

  it('is DIGEST_MISMATCH: a compressed layer under the digest of its tar', async () => {
    const plain = layout.blob(tar, LAYER)
    const packed = gzipSync(tar)
    writeFileSync(layout.file(plain.digest), packed)
    const image = layout.image([tar], {}, [{ ...plain, size: packed.length }])
    await refused(layout.index({ manifests: [image] }), 'DIGEST_MISMATCH')
  })

  it('is DIGEST_MISMATCH: a wrong size of a layer or a manifest', async () => {
    const layer = { ...layout.blob(tar, LAYER), size: 3 }
    await refused(layout.index({ manifests: [layout.image([tar], {}, [layer])] }), 'DIGEST_MISMATCH')
    const manifest = { ...layout.image([tar]), size: 3 }
    await refused(layout.index({ manifests: [manifest] }), 'DIGEST_MISMATCH')
  })
})

describe('a malformed index', () => {
  it.each([
    null,
    3,
    [],
    {},
    { manifests: {} },
    { manifests: [null] },
    { manifests: [3] },
    { manifests: [{}] },
    { manifests: [{ digest: 'sha256:../../../etc/passwd', size: 3 }] },
    { manifests: [{ digest: `md5:${'a'.repeat(32)}`, size: 3 }] },
    { manifests: [{ ...absent, size: -1 }] },
    { manifests: [{ ...absent, size: 'x' }] },
    { manifests: [{ ...absent, annotations: 'x' }] },
    { manifests: [{ ...absent, platform: 'x' }] },
    { manifests: [absent] },
  ])('is MANIFEST_INVALID: %j', async (document) => {
    await refused(layout.index(document), 'MANIFEST_INVALID')
  })

  it.each([null, {}, { config: null, layers: [] }, { layers: [null] }, { config: absent, layers: null }])(
    'is MANIFEST_INVALID if its manifest is %j',
    async (document) => {
      const manifest = layout.blob(Buffer.from(JSON.stringify(document)), MANIFEST)
      await refused(layout.index({ manifests: [manifest] }), 'MANIFEST_INVALID')
    },
  )

  it('is MANIFEST_INVALID if it lists too many images or is nested too deeply', async () => {
    let bomb = layout.image([tar])
    for (let level = 0; level < 3; level++) bomb = layout.nested(Array.from({ length: 400 }, () => bomb))
    await refused(layout.index({ manifests: [bomb] }), 'MANIFEST_INVALID')
    let deep = layout.image([tar])
    for (let level = 0; level < 6; level++) deep = layout.nested([deep])
    await refused(layout.index({ manifests: [deep] }), 'MANIFEST_INVALID')
  })

  it('is LIMIT_EXCEEDED if its file is too large', async () => {
    writeFileSync(join(layout.path, 'index.json'), '')
    truncateSync(join(layout.path, 'index.json'), 2 ** 33)
    await refused(layout.path, 'LIMIT_EXCEEDED')
  })
})

async function architectures(path: string, wanted?: string): Promise<string[]> {
  const images = await store.load(path, { platform: wanted })
  return images.map(({ config, references }) => `${config.architecture} ${references.join(' ')}`)
}

async function refused(path: string, code: string): Promise<void> {
  await expect(store.load(path)).rejects.toMatchObject({ name: 'StoreError', code })
  expect(await store.images()).toEqual([])
  expect(await layersOf(store).list()).toEqual([])
  expect(await driverOf(store).list()).toEqual([])
  expect(readdirSync(join(store.root, 'layerstack/tmp'))).toEqual([])
}
