import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Container, type Store } from '#layerstack/index.js'
import { removeTree } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { optionsOf, storeSettings } from './settings.js'
import { driverOf } from '../support/store-parts.js'

/** A cache-id in the layerdb has no checksum: a flipped bit gives another valid cache-id. */
for (const settings of storeSettings) {
  describe(`check({ repair: true }) on ${settings.name}`, unless(settings.reason), () => {
    let scratch: string
    let store: Store
    let container: Container

    const open = (): Promise<Store> => openStore({ root: join(scratch, 'root'), ...optionsOf(settings) })
    const layerdb = (...names: string[]): string =>
      join(store.root, 'image', store.driver.name, 'layerdb', ...names)

    beforeEach(async () => {
      scratch = mkdtempSync(join(tmpdir(), 'layerstack-ids-'))
      store = await open()
      const archive = join(scratch, 'image.tar')
      await writeArchive(archive, imageOf([await layerTar([{ name: 'base', content: 'base' }])], 'base:1'))
      await store.load(archive)
      container = await store.createContainer('base:1', { name: 'working' })
      await container.fs.writeFile('/work', 'work')
      await container.unmount()
    })

    afterEach(async () => {
      await store.close()
      await removeTree(scratch)
    })

    it('restores the writable layer of a container after a digit of its mount-id changed', async () => {
      await damaged(layerdb('mounts', container.id, 'mount-id'))
      expect(await problems()).toEqual(['container-damaged'])
      await store.check({ repair: true })
      expect(await problems()).toEqual([])
      const again = await store.openContainer('working')
      expect(await again.fs.readFile('/work', 'utf8')).toBe('work')
      await again.unmount()
    })

    it('restores the layer of an image after a digit of its cache-id changed', async () => {
      const [chain = ''] = readdirSync(layerdb('sha256'))
      await damaged(layerdb('sha256', chain, 'cache-id'))
      expect(await problems()).toContain('layer-damaged')
      await store.check({ repair: true })
      expect(await problems()).toEqual([])
      const again = await store.openContainer('working')
      expect(await again.fs.readFile('/base', 'utf8')).toBe('base')
      await again.unmount()
    })

    /** Changes the last digit. The open clears the orphans made here, but must keep the layer whose name is damaged. */
    async function damaged(file: string): Promise<void> {
      for (const digit of ['a', 'b']) await driverOf(store).create(digit.repeat(64))
      const name = readFileSync(file, 'utf8')
      writeFileSync(file, name.slice(0, -1) + (name.endsWith('0') ? '1' : '0'))
      await store.close()
      store = await open()
    }

    async function problems(): Promise<string[]> {
      return (await store.check()).problems.map(({ kind }) => kind)
    }
  })
}
