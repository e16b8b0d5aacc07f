import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { IMAGE, realImage, realImageNeeds, type RealImage } from '../fixtures/real-image.js'
import { startDockerd, type Dockerd } from '../support/dockerd.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { run } from '../support/program.js'

const reason = noDaemon ?? notInstalled(...realImageNeeds, 'skopeo')

describe('a real image, saved', unless(reason), () => {
  let fixture: RealImage
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
  }, 900_000)

  afterAll(async () => {
    await store.close()
    await docker.stop()
    rmSync(scratch, { recursive: true, force: true })
  })

  it("in the legacy form has Docker's own manifest and repositories, ids of version 1 and all", async () => {
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
  ] as const)('as %s, %s, is loaded by Docker under the same ID', async (format, compression) => {
    await store.save(IMAGE, saved(), { format, compression })
    expect(await docker.load(saved())).toEqual([IMAGE])
    expect((await docker.inspect(IMAGE)).Id).toBe(fixture.inspect.Id)
    await docker.cli('rmi', IMAGE)
    rmSync(saved())
  })

  // Docker reads archives packed with zstd since version 23.
  it('as docker-archive, zstd, is read by skopeo', async () => {
    await store.save(IMAGE, saved(), { format: 'docker-archive', compression: 'zstd' })
    const config = await run('skopeo', ['inspect', '--config', '--raw', `docker-archive:${saved()}`])
    expect(JSON.parse(config.toString()).rootfs.diff_ids).toEqual(fixture.inspect.RootFS.Layers)
    rmSync(saved())
  })

  it('as an OCI layout packed with gzip, is made a docker-archive by skopeo, and loaded', async () => {
    await store.save(IMAGE, saved(), { format: 'oci-layout', compression: 'gzip' })
    const copy = join(scratch, 'copy.tar')
    await run('skopeo', [
      'copy',
      '--insecure-policy',
      `oci:${saved()}:latest`,
      `docker-archive:${copy}:${IMAGE}`,
    ])
    expect(await docker.load(copy)).toEqual([IMAGE])
    expect((await docker.inspect(IMAGE)).Id).toBe(fixture.inspect.Id)
    await docker.cli('rmi', IMAGE)
    for (const path of [saved(), copy]) rmSync(path, { recursive: true })
  })

  // Docker's own manifests know no zstd, so that a docker-archive cannot be made of it.
  it('as an OCI layout packed with zstd, is copied by skopeo, blob for blob', async () => {
    await store.save(IMAGE, saved(), { format: 'oci-layout', compression: 'zstd' })
    const copy = join(scratch, 'copy')
    await run('skopeo', ['copy', '--insecure-policy', `oci:${saved()}:latest`, `dir:${copy}`])
    const { layers } = JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8'))
    expect(layers.length).toBe(fixture.inspect.RootFS.Layers.length)
    for (const path of [saved(), copy]) rmSync(path, { recursive: true })
  })
})

function fileIn(archive: string, name: string): string {
  return execFileSync('tar', ['-xOf', archive, name], { encoding: 'utf8' })
}
