/** @module-tag judge */
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Image, Store } from '#layerstack/index.js'
import { changes } from '../fixtures/recipes/real/changes.js'
import { realImage, realImageNeeds, type RealImage } from '../fixtures/real-image.js'
import { startDockerd, type Dockerd } from '../support/dockerd.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { changeContainer } from './container-changes.js'
import { either, linksPartedByOverlay, madeByInitLayer } from './known-differences.js'
import { differences, treeOf, type Tree } from './tree.js'
import { openVariant, variants } from './variants.js'

const reason = noDaemon ?? notInstalled(...realImageNeeds)

describe('changes that Docker also committed', unless(reason), () => {
  let fixture: RealImage
  let scratch: string
  let docker: Dockerd
  let committed: Tree

  beforeAll(async () => {
    fixture = await realImage()
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-judges-'))
    docker = await startDockerd({ root: join(scratch, 'docker') })
    committed = await treeOf(createReadStream(fixture.committedExport))
  }, 900_000)

  afterAll(async () => {
    await docker.stop()
    rmSync(scratch, { recursive: true, force: true })
  })

  describe.each(variants)('on $name', (variant) => {
    let store: Store
    // Docker's container was on overlayfs.
    const known = variant.driver === 'vfs' ? either(madeByInitLayer, linksPartedByOverlay) : madeByInitLayer

    beforeAll(async () => {
      store = await openVariant(variant, join(scratch, `${variant.driver}-${variant.engine}`))
      await store.load(fixture.archive)
    }, 300_000)

    afterAll(async () => {
      await store.close()
      rmSync(store.root, { recursive: true, force: true })
    })

    it("commit to the tree of Docker's own commit, with and without `consume`", async () => {
      await using container = await store.createContainer(fixture.inspect.Id)
      await changeContainer(container.fs, changes)
      const copied = await container.commit()
      const image = await container.commit({ reference: 'judged/commit', consume: true })
      expect(image.layers.slice(0, -1)).toEqual(fixture.inspect.RootFS.Layers)
      expect(copied.layers).toEqual(image.layers)
      expect(differences(await treeInDocker(image), committed, known)).toEqual([])
    })

    it('survive a flatten', async () => {
      const flat = await store.flatten('judged/commit', { reference: 'judged/flat' })
      expect(flat.layers.length).toBe(1)
      expect(differences(await treeInDocker(flat), committed, known)).toEqual([])
    })

    async function treeInDocker({ id }: Image): Promise<Tree> {
      const archive = join(scratch, 'image.tar')
      const exported = join(scratch, 'export.tar')
      try {
        await store.save(id, archive)
        await docker.load(archive)
        await docker.exportImage(id, exported)
        await docker.cli('rmi', '--force', id)
        return await treeOf(createReadStream(exported))
      } finally {
        for (const file of [archive, exported]) rmSync(file, { force: true })
      }
    }
  })
})
