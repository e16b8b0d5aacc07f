/** @module-tag judge */
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore } from '#layerstack/index.js'
import { COMMITTED, IMAGE, realImage, realImageNeeds, type RealImage } from '../fixtures/real-image.js'
import { startDockerd } from '../support/dockerd.js'
import { run } from '../support/program.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { either, linksPartedByDockersVfs, madeByInitLayer } from './known-differences.js'
import { differences, treeOf, type Tree } from './tree.js'
import { openVariant, variants } from './variants.js'

const reason = noDaemon ?? notInstalled(...realImageNeeds)

describe('a data root', unless(reason), () => {
  let fixture: RealImage
  let scratch: string
  let expected: Tree

  beforeAll(async () => {
    fixture = await realImage()
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-judges-'))
    expected = await treeOf(createReadStream(fixture.exported))
  }, 900_000)

  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  it.each(variants)('written by this library on $name is read by dockerd', async (variant) => {
    const root = join(scratch, 'ours')
    const exported = join(scratch, 'export.tar')
    try {
      await using store = await openVariant(variant, root)
      await store.load(fixture.archive)
      await store.tag(IMAGE, 'other/name:tag')
      await using container = await store.createContainer(IMAGE)
      await container.fs.writeFile('/marker', 'ours')
      const child = await container.commit({ reference: 'other/child', consume: true })
      await store.close()

      await using docker = await startDockerd({ root, driver: variant.driver })
      expect((await docker.imageIds()).toSorted()).toEqual([fixture.inspect.Id, child.id].toSorted())
      expect((await docker.inspect(IMAGE)).RepoTags.toSorted()).toEqual([IMAGE, 'other/name:tag'])
      await docker.exportImage(IMAGE, exported)
      const known =
        variant.driver === 'vfs' ? either(madeByInitLayer, linksPartedByDockersVfs) : madeByInitLayer
      expect(differences(await treeOf(createReadStream(exported)), expected, known)).toEqual([])
      expect(
        await docker.text('run', '--rm', '--network=none', '--user=0', 'other/child', 'cat /marker'),
      ).toBe('ours')
    } finally {
      for (const path of [root, exported]) rmSync(path, { recursive: true, force: true })
    }
  })

  it.each(['kernel', 'userspace'] as const)(
    'written by dockerd on overlay2 is read by the %s engine',
    async (engine) => {
      const [root, fresh] = [join(scratch, 'theirs'), join(scratch, 'fresh')]
      const [saved, exported] = [join(scratch, 'saved.tar'), join(scratch, 'export.tar')]
      await run('cp', ['-a', fixture.dockerRoot, root])
      try {
        await using store = await openStore({ root, engine })
        expect(store.driver.name).toBe('overlay2')
        const references = (await store.images()).flatMap((image) => image.references)
        expect(references).toEqual(expect.arrayContaining([IMAGE, COMMITTED]))
        for (const [reference, tar] of [
          [IMAGE, fixture.exported],
          [COMMITTED, fixture.committedExport],
        ] as const) {
          await using container = await store.createContainer(reference)
          const theirs = await treeOf(createReadStream(tar))
          expect(differences(await treeOf(container.export()), theirs, madeByInitLayer)).toEqual([])
          await container.remove()
        }
        expect((await store.image(IMAGE)).id).toBe(fixture.inspect.Id)

        await store.save([IMAGE, COMMITTED], saved)
        await using docker = await startDockerd({ root: fresh })
        expect((await docker.load(saved)).toSorted()).toEqual([COMMITTED, IMAGE])
        expect(await docker.imageIds()).toContain(fixture.inspect.Id)
        await docker.exportImage(COMMITTED, exported)
        const again = await treeOf(createReadStream(exported))
        const before = await treeOf(createReadStream(fixture.committedExport))
        expect(differences(again, before, madeByInitLayer)).toEqual([])
      } finally {
        for (const path of [root, fresh, saved, exported]) rmSync(path, { recursive: true, force: true })
      }
    },
  )

  it('keeps the image of a container of dockerd', async () => {
    const [root, exported] = [join(scratch, 'theirs'), join(scratch, 'export.tar')]
    await run('cp', ['-a', fixture.dockerRoot, root])
    try {
      const before = await startDockerd({ root })
      const id = await before.text('create', '--network=none', COMMITTED, '/never-run')
      await before.stop()

      await using store = await openStore({ root })
      expect(await store.check()).toMatchObject({ clean: true, problems: [] })
      await expect(store.remove(COMMITTED)).rejects.toMatchObject({ code: 'IMAGE_IN_USE' })
      await store.prune({ all: true })
      expect((await store.images()).flatMap(({ references }) => references)).toEqual([COMMITTED])
      await store.close()

      await using after = await startDockerd({ root })
      await after.toFile(exported, 'export', id)
      const kept = await treeOf(createReadStream(exported))
      const committed = await treeOf(createReadStream(fixture.committedExport))
      expect(differences(kept, committed, madeByInitLayer)).toEqual([])
    } finally {
      for (const path of [root, exported]) rmSync(path, { recursive: true, force: true })
    }
  })

  it('written by dockerd on vfs is read by this library', async () => {
    const root = join(scratch, 'theirs')
    const archive = join(scratch, 'small.tar')
    try {
      await using source = await openStore({ root: join(scratch, 'source') })
      await source.load(fixture.committedArchive)
      const flat = await source.flatten(COMMITTED, { reference: 'judged/flat' })
      await using container = await source.createContainer(flat.id)
      await container.fs.rm('/usr/share/perl', { recursive: true })
      const child = await container.commit({ reference: 'judged/child' })
      await source.save('judged/child', archive)
      const tree = await treeOf(container.export())

      const docker = await startDockerd({ root, driver: 'vfs' })
      await docker.load(archive)
      await docker.stop()
      await using store = await openStore({ root })
      expect(store.driver.name).toBe('vfs')
      await using read = await store.createContainer('judged/child')
      expect(read.image).toBe(child.id)
      expect(differences(await treeOf(read.export()), tree, linksPartedByDockersVfs)).toEqual([])
    } finally {
      for (const path of [root, archive]) rmSync(path, { recursive: true, force: true })
    }
  })
})
