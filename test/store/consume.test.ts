import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Container, type Image, type ProgressEvent, type Store } from '#layerstack/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { optionsOf, storeSettings } from './settings.js'
import { driverOf, layersOf } from '../support/store-parts.js'

let scratch: string
let store: Store

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-consume-'))
})

afterEach(async () => {
  await store.close()
  await removeTree(scratch)
})

for (const settings of storeSettings) {
  describe(`commit({ consume: true }) on ${settings.name}`, unless(settings.reason), () => {
    const open = (): Promise<Store> => openStore({ root: join(scratch, 'root'), ...optionsOf(settings) })

    beforeEach(async () => {
      store = await open()
      const archive = join(scratch, 'image.tar')
      await writeArchive(archive, imageOf([await layerTar([{ name: 'base', content: 'base' }])], 'base:1'))
      await store.load(archive)
    })

    it('keeps its layer if it fails after the layer is stored, and completes when repeated', async () => {
      const container = await working()
      const mend = breakMetadata()
      await expect(container.commit({ reference: 'work:1', consume: true })).rejects.toThrow()
      mend()
      for (const { chainId, parent } of await layersOf(store).list()) {
        if (parent === undefined) continue
        await expect(layersOf(store).remove(chainId)).rejects.toMatchObject({ code: 'LAYER_IN_USE' })
      }
      const image = await container.commit({ reference: 'work:1', consume: true })
      await expectWork(image)
      expect((await store.inspect('work:1')).parent).toBe(container.image)
      expect(await store.containers()).toEqual([])
      expect((await store.check()).problems).toEqual([])
    })

    it('is completed by the next open if it fails after the layer is stored', async () => {
      const container = await working()
      const mend = breakMetadata()
      await expect(container.commit({ reference: 'work:1', consume: true })).rejects.toThrow()
      mend()
      await reopen()
      await expectWork(await store.image('work:1'))
      expect(await store.containers()).toEqual([])
      expect(readdirSync(join(store.root, 'layerstack/leases', store.driver.name))).toEqual(['spare'])
    })

    it('returns the layer to its container if the record of the decision is damaged', async () => {
      const container = await working()
      await container.unmount()
      const [{ mountId } = { mountId: '' }] = await layersOf(store).writables.list()
      const cacheId = 'c'.repeat(64)
      await driverOf(store).adopt?.(mountId, cacheId)
      const [leases, decisions] = ['leases', 'consuming'].map((name) =>
        join(store.root, 'layerstack', name, store.driver.name),
      ) as [string, string]
      mkdirSync(decisions, { recursive: true })
      writeFileSync(join(decisions, `${container.id}.json`), '{"container": "half')
      writeFileSync(
        join(leases, `${'1'.repeat(24)}.json`),
        JSON.stringify([`adopt ${mountId} ${cacheId} ${container.id}`]),
      )
      await reopen()
      const again = await store.openContainer(container.id)
      expect(await again.fs.readFile('/work', 'utf8')).toBe('work')
      await again.unmount()
      expect((await store.check()).problems).toEqual([])
      const kept = readdirSync(decisions).filter((name) => !name.startsWith('lock'))
      expect(kept).toEqual([`${container.id}.json.damaged`])
    })

    it('keeps the container closed to other stores until it ends', async () => {
      const container = await working()
      await container.unmount()
      await using other = await open()
      const decide = async (): Promise<void> => {
        await expect(other.openContainer(container.id)).rejects.toMatchObject({ code: 'CONTAINER_IN_USE' })
        throw new Error('not decided')
      }
      const consumption = layersOf(store).commits.consume(container.id, {
        decide,
        complete: async () => undefined,
      })
      await expect(consumption).rejects.toThrow('not decided')
      const again = await other.openContainer(container.id)
      expect(await again.fs.readFile('/work', 'utf8')).toBe('work')
      await again.unmount()
    })

    it('fails before it reads if another store has the container open', async () => {
      const container = await working()
      await container.unmount()
      await using other = await open()
      const opened = await other.openContainer(container.id)
      const onProgress = ({ type }: ProgressEvent): void => expect(type).not.toBe('layer:commit')
      const commit = container.commit({ reference: 'work:1', consume: true, onProgress })
      await expect(commit).rejects.toMatchObject({ code: 'CONTAINER_IN_USE' })
      await opened.fs.writeFile('/work', 'more work')
      await opened.unmount()
      const image = await container.commit({ reference: 'work:1', consume: true })
      const made = await store.createContainer(image.id)
      expect(await made.fs.readFile('/work', 'utf8')).toBe('more work')
    })

    it('ignores names in a lease that lead out of the layerdb', async () => {
      mkdirSync(join(scratch, 'kept'))
      writeFileSync(
        join(store.root, 'layerstack/leases', store.driver.name, `${'1'.repeat(24)}.json`),
        JSON.stringify(['x/../../../../../../kept', 'adopt x x/../../../../../../kept y']),
      )
      await reopen()
      expect(readdirSync(scratch)).toContain('kept')
    })

    async function working(): Promise<Container> {
      const container = await store.createContainer('base:1', { name: 'working' })
      await container.fs.writeFile('/work', 'work')
      return container
    }

    /** Replaces the directory of image metadata by a file. @returns a function that restores it */
    function breakMetadata(): () => void {
      const metadata = join(store.root, 'image', store.driver.name, 'imagedb/metadata')
      const aside = `${metadata}-aside`
      mkdirSync(metadata, { recursive: true })
      renameSync(metadata, aside)
      writeFileSync(metadata, '')
      return () => {
        rmSync(metadata)
        renameSync(aside, metadata)
      }
    }

    async function expectWork(image: Image): Promise<void> {
      const container = await store.createContainer(image.id)
      expect(await container.fs.readFile('/work', 'utf8')).toBe('work')
      await container.remove()
    }

    async function reopen(): Promise<void> {
      await store.close()
      store = await open()
    }
  })
}
