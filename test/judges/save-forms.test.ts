/** @module-tag judge */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { IMAGE, realImage, realImageNeeds, type RealImage } from '../fixtures/real-image.js'
import { digestOf, imageOf, layerTar, writeArchive, type ArchiveParts } from '../store/archive.js'
import { startDockerd, type Dockerd } from '../support/dockerd.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'

const reason = noDaemon ?? notInstalled(...realImageNeeds, 'skopeo')

const SMALL = 'test/small:1'

describe('a saved image', unless(reason), () => {
  let fixture: RealImage
  let small: ArchiveParts
  let scratch: string
  let docker: Dockerd
  let store: Store
  const saved = () => join(scratch, 'saved')

  beforeAll(async () => {
    fixture = await realImage()
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-judges-'))
    docker = await startDockerd({ root: join(scratch, 'docker') })
    store = await openStore({ root: join(scratch, 'store'), engine: 'userspace' })
    await store.load(fixture.archive)
    small = imageOf(
      [
        await layerTar([{ name: 'lower', content: 'lower\n'.repeat(100_000) }]),
        await layerTar([{ name: 'upper', content: 'upper\n'.repeat(100_000) }]),
      ],
      SMALL,
    )
    await writeArchive(join(scratch, 'small.tar'), small)
    await store.load(join(scratch, 'small.tar'))
  }, 900_000)

  afterAll(async () => {
    await store.close()
    await docker.stop()
    rmSync(scratch, { recursive: true, force: true })
  })

  it("has Docker's own manifest, repositories and version 1 IDs in the legacy format", async () => {
    await store.save(IMAGE, saved(), { format: 'docker-archive-legacy' })
    for (const name of ['manifest.json', 'repositories']) {
      expect(JSON.parse(fileIn(saved(), name))).toEqual(JSON.parse(fileIn(fixture.archive, name)))
    }
    const [{ Layers: layers }] = JSON.parse(fileIn(saved(), 'manifest.json')) as [{ Layers: string[] }]
    for (const layer of layers) {
      const json = layer.replace('layer.tar', 'json')
      expect(fileIn(saved(), json)).toBe(fileIn(fixture.archive, json))
    }
    rmSync(saved())
  })

  it.each([
    ['docker-archive-legacy', 'none'],
    ['docker-archive-legacy', 'gzip'],
    ['docker-archive', 'gzip'],
  ] as const)(
    'loads into Docker under the same ID as %s with compression %s',
    async (format, compression) => {
      await store.save(SMALL, saved(), { format, compression })
      await expectInDocker(saved())
      rmSync(saved())
    },
  )

  // Docker reads archives compressed with zstd since version 23.
  it('is read by skopeo as docker-archive with compression zstd', async () => {
    await store.save(SMALL, saved(), { format: 'docker-archive', compression: 'zstd' })
    const config = await run('skopeo', ['inspect', '--config', '--raw', `docker-archive:${saved()}`])
    expect(JSON.parse(config.toString()).rootfs.diff_ids).toEqual([...small.layers.values()].map(digestOf))
    rmSync(saved())
  })

  it('loads into Docker under the same ID after skopeo copied its OCI layout to a docker-archive', async () => {
    await store.save(SMALL, saved(), { format: 'oci-layout', compression: 'gzip' })
    const copy = join(scratch, 'copy.tar')
    await run('skopeo', ['copy', '--insecure-policy', `oci:${saved()}:1`, `docker-archive:${copy}:${SMALL}`])
    await expectInDocker(copy)
    for (const path of [saved(), copy]) rmSync(path, { recursive: true })
  })

  // Docker manifests do not support zstd layers, so skopeo cannot write a docker-archive from it.
  it('is copied by skopeo with all layers as an OCI layout with compression zstd', async () => {
    await store.save(SMALL, saved(), { format: 'oci-layout', compression: 'zstd' })
    const copy = join(scratch, 'copy')
    await run('skopeo', ['copy', '--insecure-policy', `oci:${saved()}:1`, `dir:${copy}`])
    const { layers } = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8'))
    expect(layers.length).toBe(small.layers.size)
    for (const path of [saved(), copy]) rmSync(path, { recursive: true })
  })

  async function expectInDocker(archive: string): Promise<void> {
    expect(await docker.load(archive)).toEqual([SMALL])
    expect((await docker.inspect(SMALL)).Id).toBe(digestOf(small.config))
    await docker.cli('rmi', SMALL)
  }
})

function fileIn(archive: string, name: string): string {
  return execFileSync('tar', ['-xOf', archive, name], { encoding: 'utf8' })
}
