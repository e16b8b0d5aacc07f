import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Lease } from '#layerstack/durable/lease.js'
import { StoreError } from '#layerstack/errors.js'
import { openStore } from '#layerstack/index.js'
import { unless } from '../support/needs.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { driverOf } from '../support/store-parts.js'
import { optionsOf, storeSettings } from './settings.js'

let scratch: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-orphans-'))
})

afterEach(() => {
  vi.restoreAllMocks()
  rmSync(scratch, { recursive: true, force: true })
})

for (const settings of storeSettings) {
  describe(`prune on ${settings.name}`, unless(settings.reason), () => {
    it.each([1, 2, 3, 4])(
      'keeps a container whose removal starts after read %i of the leases and fails',
      async (read) => {
        const options = { root: join(scratch, 'root'), ...optionsOf(settings) }
        const archive = join(scratch, 'image.tar')
        await writeArchive(archive, imageOf([await layerTar([{ name: 'file', content: 'x' }])], 'app:1'))
        await using store = await openStore(options)
        await store.load(archive)
        const container = await store.createContainer('app:1', { name: 'kept' })
        await container.fs.writeFile('/work', 'of days')
        await container.unmount()
        await using other = await openStore(options)
        const [begun, failed] = [withResolvers<void>(), withResolvers<never>()]
        failed.promise.catch(() => undefined)
        vi.spyOn(driverOf(store), 'remove').mockImplementation(() => {
          begun.resolve()
          return failed.promise
        })
        const { named } = Lease
        let removal: Promise<unknown> | undefined
        let reads = 0
        vi.spyOn(Lease, 'named').mockImplementation(async (directory, ...rest) => {
          const names = await named.call(Lease, directory, ...rest)
          if (++reads === read) {
            removal = container.remove().catch((error: unknown) => error)
            await begun.promise
          }
          return names
        })
        await other.prune()
        failed.reject(new StoreError('LAYER_IN_USE', 'it is open elsewhere'))
        const error = await removal
        vi.restoreAllMocks()
        if (error !== undefined) expect(error).toMatchObject({ code: 'CONTAINER_IN_USE' })
        const again = await store.openContainer('kept')
        expect(await again.fs.readFile('/work', 'utf8')).toBe('of days')
        expect((await other.check()).problems).toEqual([])
        await again.unmount()
      },
    )
  })
}

function withResolvers<T>() {
  let resolve: (value: T) => void = () => undefined
  let reject: (reason: unknown) => void = () => undefined
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
