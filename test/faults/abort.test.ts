/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type OperationOptions, type Store } from '#layerstack/index.js'
import { optionsOf, storeSettings } from '../store/settings.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { unless } from '../support/needs.js'
import { driverOf, layersOf } from '../support/store-parts.js'

const TIMES = 12
const many = (from: number) =>
  Array.from({ length: 400 }, (_, index) => ({
    name: `dir/file-${from + index}`,
    content: 'x'.repeat(20_000),
  }))
const lower = await layerTar(many(0))
const upper = await layerTar(many(200))

let scratch: string
let store: Store

describe.each(storeSettings)('abort on $name:', ({ reason, ...settings }) => {
  beforeEach(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-abort-'))
    await writeArchive(join(scratch, 'image.tar'), imageOf([lower, upper], 'app:1'))
    store = await openStore({ root: join(scratch, 'root'), ...optionsOf(settings) })
  })

  afterEach(async () => {
    await store.close()
    rmSync(scratch, { recursive: true, force: true })
  })

  it('load() leaves the store unchanged', unless(reason), async () => {
    await expectUnchanged((options) => store.load(join(scratch, 'image.tar'), options))
  })

  it('load() of a compressed archive leaves the store unchanged', unless(reason), async () => {
    execFileSync('gzip', ['-1', '-k', join(scratch, 'image.tar')])
    await expectUnchanged((options) => store.load(join(scratch, 'image.tar.gz'), options))
  })

  it('import() leaves the store unchanged', unless(reason), async () => {
    await expectUnchanged((options) => store.import(Readable.from([lower]), options))
  })

  it('commit() leaves the store and the container unchanged', unless(reason), async () => {
    await store.load(join(scratch, 'image.tar'))
    await using container = await store.createContainer('app:1')
    for (let index = 0; index < 300; index++)
      await container.fs.writeFile(`/new-${index}`, Buffer.alloc(20_000))
    await expectUnchanged((options) => container.commit({ ...options, reference: 'app:2' }))
    expect((await container.fs.readdir('/')).length).toBe(301)
  })

  it('flatten() leaves the store unchanged', unless(reason), async () => {
    await store.load(join(scratch, 'image.tar'))
    await expectUnchanged((options) => store.flatten('app:1', { ...options, reference: 'app:2' }))
  })

  it('save() leaves the store unchanged and no file', unless(reason), async () => {
    await store.load(join(scratch, 'image.tar'))
    const saved = join(scratch, 'saved.tar')
    await expectUnchanged(async (options) => {
      await store.save('app:1', saved, options)
      rmSync(saved)
    })
    expect(readdirSync(scratch).toSorted()).toEqual(['image.tar', 'root'])
  })
})

/** Aborts the call ever later, up to `TIMES` times or until it succeeds. */
async function expectUnchanged(call: (options: OperationOptions) => Promise<unknown>): Promise<void> {
  const before = await content()
  const aborted = new Error('enough')
  let rejected = 0
  for (let time = 0; time < TIMES; time++) {
    const abort = new AbortController()
    let events = 0
    const timer = setTimeout(() => abort.abort(aborted), time * 4)
    try {
      await call({ signal: abort.signal, onProgress: () => ++events > time * 2 && abort.abort(aborted) })
      break
    } catch (error) {
      expect(error).toBe(aborted)
      rejected++
    } finally {
      clearTimeout(timer)
    }
    expect(await content()).toEqual(before)
  }
  expect(rejected).toBeGreaterThan(0)
  expect((await store.check()).problems).toEqual([])
}

async function content() {
  const leases = filesIn(`layerstack/leases/${store.driver.name}`).filter((name) => name !== 'spare')
  return {
    images: (await store.images()).map(({ id, references }) => `${id} ${references.join(' ')}`).toSorted(),
    layers: (await layersOf(store).list()).map(({ chainId }) => chainId).toSorted(),
    driver: (await driverOf(store).list()).toSorted(),
    writeSets: readdirSync(join(store.root, 'image', store.driver.name, 'layerdb/tmp')),
    leftovers: [...filesIn('layerstack/tmp'), ...leases],
  }
}

function filesIn(directory: string): string[] {
  const path = join(store.root, directory)
  return existsSync(path) ? readdirSync(path) : []
}
