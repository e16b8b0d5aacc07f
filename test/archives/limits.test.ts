/** @module-tag thorough */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { file, pax, tar } from '#layerstack/conformance/odd-layers/raw-tar.js'
import { openStore, type Limits, type Store } from '#layerstack/index.js'
import { digestOf } from '../store/archive.js'
import { removeTree } from '../support/mounts.js'

let scratch: string
let store: Store

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-limits-'))
  store = await openStore({ root: join(scratch, 'root'), driver: 'vfs' })
})

afterAll(async () => {
  await store.close()
  await removeTree(scratch)
})

const ZEROS = 300 << 20

/** By limit: the archive in words, a value that it exceeds, a value that admits it, and the archive. */
const CASES: readonly [keyof Limits, string, Limits, Limits, () => Buffer][] = [
  [
    'entries',
    'five files',
    { entries: 4 },
    { entries: 5 },
    () => archive(file('a'), file('b'), file('c'), file('d'), file('e')),
  ],
  [
    'entries',
    'a file with four implied parents',
    { entries: 4 },
    { entries: 5 },
    () => archive(file('a/b/c/d/e')),
  ],
  [
    'pathLength',
    'a name of 21 bytes',
    { pathLength: 20 },
    { pathLength: 21 },
    () => archive(file('123456789012345678901')),
  ],
  [
    'pathDepth',
    'a path of four components',
    { pathDepth: 3 },
    { pathDepth: 4 },
    () => archive(file('aa/bb/cc/dd')),
  ],
  [
    'extensionBytes',
    'a PAX header',
    { extensionBytes: 50 },
    { extensionBytes: 500 },
    () => archive(pax(xattrs(5)), file('a')),
  ],
  [
    'paxRecords',
    'five PAX records',
    { paxRecords: 4 },
    { paxRecords: 5 },
    () => archive(pax(xattrs(5)), file('a')),
  ],
  [
    'unpackedBytes',
    'a file of 601 bytes',
    { unpackedBytes: 600 },
    { unpackedBytes: 6000 },
    () => archive(file('a', 'x'.repeat(601))),
  ],
  ['layers', 'two layers', { layers: 1 }, { layers: 2 }, () => archiveOf([tar(file('a')), tar(file('b'))])],
  ['documentBytes', 'a config', { documentBytes: 100 }, { documentBytes: 1000 }, () => archive(file('a'))],
  [
    'expansion',
    'zeros in gzip',
    {},
    { expansion: 2000 },
    () => gzipSync(archive(file('a', Buffer.alloc(ZEROS)))),
  ],
]

describe.each(CASES)('limits.%s, on %s', (name, _, low, high, make) => {
  it('rejects an archive that exceeds it, and admits the same archive after it is raised', async () => {
    const path = join(scratch, 'archive.tar')
    writeFileSync(path, make())
    await expect(store.load(path, { limits: low })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      hint: expect.stringContaining(`limits.${name}`),
    })
    const [image] = await store.load(path, { limits: high })
    await store.remove(image?.id as string, { force: true })
  })
})

it('an unknown limit, or a value that is not a positive number, is a TypeError', async () => {
  const load = (limits: object) => store.load('/nowhere', { limits })
  await expect(load({ entrys: 1 })).rejects.toThrow(TypeError)
  await expect(load({ entries: 0 })).rejects.toThrow(TypeError)
  await expect(load({ entries: Number.NaN })).rejects.toThrow(TypeError)
  await expect(load({ entries: '5' })).rejects.toThrow(TypeError)
})

it('a layer with the right digest is loaded after it was verified ahead', async () => {
  const layer = tar(...Array.from({ length: 4500 }, (_, index) => file(`f${index}`)))
  const path = join(scratch, 'many.tar')
  writeFileSync(path, archiveOf([gzipSync(layer)], [layer]))
  const [image] = await store.load(path)
  expect(image?.layers).toEqual([digestOf(layer)])
})

it('import() applies limits', async () => {
  const chunks = async function* () {
    yield tar(file('a'), file('b'))
  }
  await expect(store.import(chunks(), { limits: { entries: 1 } })).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
  })
})

it('unpackedBytes counts the layers of an archive together, and the error names the whole limit', async () => {
  const path = join(scratch, 'two-layers.tar')
  const layers = ['lower', 'upper'].map((name) => tar(file(name, Buffer.alloc(60_000, 'x'))))
  writeFileSync(
    path,
    archiveOf(
      layers.map((layer) => gzipSync(layer)),
      layers,
    ),
  )
  await expect(store.load(path, { limits: { unpackedBytes: 100_000 } })).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: expect.stringContaining('exceed 100000 bytes'),
    hint: expect.stringContaining('limits.unpackedBytes above 100000'),
  })
  expect(await store.load(path, { limits: { unpackedBytes: 120_000 } })).toHaveLength(1)
})

function archive(...pieces: readonly Buffer[]): Buffer {
  return archiveOf([tar(...pieces)])
}

function archiveOf(blobs: readonly Buffer[], layers = blobs): Buffer {
  const config = JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: layers.map(digestOf) } })
  const names = blobs.map((_, index) => `${index}`)
  return tar(
    file('c', config),
    ...blobs.map((blob, index) => file(names[index] as string, blob)),
    file('manifest.json', JSON.stringify([{ Config: 'c', RepoTags: null, Layers: names }])),
  )
}

function xattrs(count: number): [string, string][] {
  return Array.from({ length: count }, (_, index) => [`SCHILY.xattr.user.${index}`, 'value'])
}
