/** @module-tag judge */
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chainIds, sha256 } from '#layerstack/digest.js'
import type { Image, Store } from '#layerstack/index.js'
import { IMAGE, realImage, realImageNeeds, type RealImage } from '../fixtures/real-image.js'
import { startDockerd, type Dockerd } from '../support/dockerd.js'
import { run } from '../support/program.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { either, emptyInGo, madeByInitLayer, unlikeInGnuTar } from './known-differences.js'
import { differences, treeOf, type Tree } from './tree.js'
import { openVariant, variants } from './variants.js'

const formats = ['docker-archive', 'oci-archive', 'oci-layout'] as const
const RAW = 2
const reason = noDaemon ?? notInstalled(...realImageNeeds, 'skopeo', 'umoci')

describe('a real image that Docker built and saved', unless(reason), () => {
  let fixture: RealImage
  let scratch: string
  let docker: Dockerd
  /** Digests of saved images that other programs have read. Equal bytes are not checked again. */
  const accepted = new Set<string>()
  /** The tree that umoci unpacks, by the digest of the layout. */
  const unpacked = new Map<string, Tree>()

  beforeAll(async () => {
    fixture = await realImage()
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-judges-'))
    docker = await startDockerd({ root: join(scratch, 'docker') })
  }, 900_000)

  afterAll(async () => {
    await docker.stop()
    rmSync(scratch, { recursive: true, force: true })
  })

  describe.each(variants)('on $name', (variant) => {
    let store: Store
    let image: Image

    beforeAll(async () => {
      store = await openVariant(variant, join(scratch, `${variant.driver}-${variant.engine}`))
      const [loaded] = await store.load(fixture.archive)
      if (loaded === undefined) throw new Error('load() returned no image')
      image = loaded
    }, 300_000)

    afterAll(async () => {
      await store.close()
      rmSync(store.root, { recursive: true, force: true })
    })

    it("has Docker's image ID, DiffIDs and ChainIDs", () => {
      expect(image.id).toBe(fixture.inspect.Id)
      expect(image.layers).toEqual(fixture.inspect.RootFS.Layers)
      const theirs = readdirSync(join(fixture.dockerRoot, 'image/overlay2/layerdb/sha256'))
      for (const chain of chainIds(image.layers)) expect(theirs).toContain(chain.slice('sha256:'.length))
    })

    // Docker's overlay2 counts symlink targets in the size of a layer. Docker's vfs and this library do not.
    it("has Docker's layerdb with the lines of each tar-split, except cache-ids and sizes", () => {
      for (const chain of chainIds(image.layers)) {
        const layer = join('layerdb/sha256', chain.slice('sha256:'.length))
        const ours = join(store.root, 'image', variant.driver, layer)
        const theirs = join(fixture.dockerRoot, 'image/overlay2', layer)
        expect(readdirSync(ours).toSorted()).toEqual(readdirSync(theirs).toSorted())
        for (const file of readdirSync(theirs).filter((name) => !['cache-id', 'size'].includes(name))) {
          const [one, other] = [ours, theirs].map((root) => readFileSync(join(root, file)))
          if (file.endsWith('.gz')) expect(lines(one)).toEqual(lines(other))
          else expect(one?.toString(), `${file} of ${chain}`).toBe(other?.toString())
        }
      }
    })

    it('exports the tree that Docker exports', async () => {
      await using container = await store.createContainer(image.id)
      const ours = await treeOf(container.export())
      const theirs = await treeOf(createReadStream(fixture.exported))
      expect(ours.size).toBeGreaterThan(5000)
      expect(differences(ours, theirs, madeByInitLayer)).toEqual([])
      await container.remove()
    })

    it.each(formats)('saves %s that other programs read', async (format) => {
      const path = join(scratch, `saved-${format}`)
      try {
        await store.save(IMAGE, path, { format })
        const digest = digestOfPath(path)
        if (!accepted.has(digest)) await readByOthers(format, path)
        accepted.add(digest)
      } finally {
        rmSync(path, { recursive: true, force: true })
      }
    })

    it('exports the tree that umoci unpacks from a layout, with nanoseconds and all xattrs', async () => {
      const layout = join(scratch, 'layout')
      try {
        await store.save(IMAGE, layout, { format: 'oci-layout' })
        await using container = await store.createContainer(image.id)
        const ours = await treeOf(container.export(), { detail: 'all' })
        expect(differences(ours, await unpackedByUmoci(layout), either(emptyInGo, unlikeInGnuTar))).toEqual(
          [],
        )
        await container.remove()
      } finally {
        rmSync(layout, { recursive: true, force: true })
      }
    })
  })

  async function unpackedByUmoci(layout: string): Promise<Tree> {
    const digest = digestOfPath(layout)
    const known = unpacked.get(digest)
    if (known !== undefined) return known
    const directory = mkdtempSync(join(scratch, 'umoci-'))
    const [bundle, tar] = [`${directory}/bundle`, `${directory}/bundle.tar`]
    try {
      await run('umoci', ['unpack', '--image', `${layout}:latest`, bundle])
      const everything = ['--format=pax', '--numeric-owner', '--xattrs', '--xattrs-include=*']
      await run('tar', [...everything, '-C', join(bundle, 'rootfs'), '-cf', tar, '.'])
      const tree = await treeOf(createReadStream(tar), { detail: 'all' })
      unpacked.set(digest, tree)
      return tree
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  }

  async function readByOthers(format: (typeof formats)[number], path: string): Promise<void> {
    const name = format === 'oci-layout' ? `oci:${path}:latest` : `${format}:${path}`
    const config = await run('skopeo', ['inspect', '--config', '--raw', name])
    expect(sha256(config)).toBe(fixture.inspect.Id)
    const { Layers } = JSON.parse((await run('skopeo', ['inspect', name])).toString())
    expect(Layers).toEqual(fixture.inspect.RootFS.Layers)
    if (format === 'docker-archive') {
      expect(await docker.load(path)).toEqual([IMAGE])
      expect((await docker.inspect(IMAGE)).Id).toBe(fixture.inspect.Id)
      await docker.cli('rmi', IMAGE)
    }
  }
})

/** Joins consecutive raw segments, because Go splits the bytes after the last entry at the ends of its reads. */
function lines(packed: Buffer | undefined): object[] {
  const text = gunzipSync(packed as Buffer)
    .toString('latin1')
    .trimEnd()
  const joined: { type: number; name?: string; payload: string | null }[] = []
  for (const { position: _, ...entry } of text.split('\n').map((line) => JSON.parse(line))) {
    const last = joined.at(-1)
    if (last?.type !== RAW || entry.type !== RAW) joined.push(entry)
    else last.payload = Buffer.concat([base64(last.payload), base64(entry.payload)]).toString('base64')
  }
  return joined
}

function base64(text: string | null): Buffer {
  return Buffer.from(text ?? '', 'base64')
}

/** A digest of a file, or of the names and contents of all files below a directory. */
function digestOfPath(path: string): string {
  const hash = createHash('sha256')
  const names = statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, encoding: 'utf8' }).toSorted()
    : ['']
  for (const name of names) {
    hash.update(`${name}\0`)
    const file = join(path, name)
    if (statSync(file).isFile()) hash.update(readFileSync(file))
  }
  return hash.digest('hex')
}
