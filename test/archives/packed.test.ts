/** @module-tag thorough */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { digestOf, imageOf, layerTar, writeArchive } from '../store/archive.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const MB = 1 << 20
const layers = await Promise.all(
  ['a', 'b', 'c', 'd'].map((name) => layerTar([{ name, content: name.repeat(3 * MB) }])),
)
const [a, b, c, d] = layers as [Buffer, Buffer, Buffer, Buffer]

let scratch: string
let store: Store

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-packed-'))
  store = await openStore({ root: join(scratch, 'root'), engine: 'userspace' })
})

afterEach(async () => {
  await store.close()
  rmSync(scratch, { recursive: true, force: true })
})

describe('an archive that is compressed as a whole', () => {
  it.each([
    ['in order', [0, 1, 2, 3]],
    ['in reverse order', [3, 2, 1, 0]],
    ['in mixed order', [1, 3, 0, 2]],
  ])('is loaded with its layers %s, and reports each layer once', async (_what, order) => {
    const parts = imageOf([a, b, c, d])
    const named = [...parts.layers]
    const path = await packed({
      ...parts,
      layers: new Map(order.map((index) => named[index] as [string, Buffer])),
    })
    const events: string[] = []
    const [image] = await store.load(path, { onProgress: ({ type }) => void events.push(type) })
    expect(image?.layers).toEqual(layers.map(digestOf))
    expect(events.filter((type) => type !== 'layer:unpack')).toEqual([
      ...Array.from({ length: 4 }, () => 'layer:stored'),
      'image:stored',
    ])
    expect((await store.check()).problems).toEqual([])
    expect(readdirSync(join(store.root, 'layerstack/tmp'))).toEqual([])
  })

  it('is loaded if it repeats a layer and holds a stored one', async () => {
    await store.load(await packed(imageOf([a, b], 'app:1')))
    const [image] = await store.load(await packed(imageOf([a, c, a, c], 'app:2')))
    expect(image?.layers).toEqual([a, c, a, c].map(digestOf))
    expect((await store.check()).problems).toEqual([])
  })

  it('is loaded if a layer is a symlink to another, as in legacy archives', async () => {
    await store.load(await packed(imageOf([a, b, a], 'app:1')))
    const saved = join(scratch, 'saved.tar.gz')
    await store.save('app:1', saved, { format: 'docker-archive-legacy', compression: 'gzip' })
    await using second = await openStore({ root: join(scratch, 'second'), driver: 'vfs' })
    expect((await second.load(saved))[0]?.layers).toEqual([a, b, a].map(digestOf))
  })

  it('is a StoreError if it is truncated, and leaves no layers', async () => {
    const whole = readFileSync(await packed(imageOf([a, b])))
    const path = join(scratch, 'broken.tar.gz')
    for (const part of [0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99]) {
      writeFileSync(path, whole.subarray(0, Math.floor(whole.length * part)))
      await expect(store.load(path), `${part}`).rejects.toMatchObject({ name: 'StoreError' })
      expect(await layersOf(store).list()).toEqual([])
      expect(await driverOf(store).list()).toEqual([])
    }
  })

  it('is not copied below the root, even if it is larger than 16 MiB', async () => {
    const large = await layerTar([{ name: 'large', content: randomBytes(18 * MB).toString('base64') }])
    const path = await packed(imageOf([a, b, c, d, large]))
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(
        most,
        Number(
          execFileSync('du', ['-s', '--block-size=1', join(store.root, 'layerstack')])
            .toString()
            .split('\t')[0],
        ),
      )
    }, 5)
    await store.load(path)
    clearInterval(timer)
    expect(most).toBeLessThan(2 * MB)
  })
})

async function packed(parts: Parameters<typeof writeArchive>[1]): Promise<string> {
  const path = join(scratch, 'image.tar')
  await writeArchive(path, parts)
  writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 1 }))
  return `${path}.gz`
}
