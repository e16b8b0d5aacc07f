/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore, StoreError, type Store } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { driverOf } from '../support/store-parts.js'

/** Damage that a disk fault or an editor may do to a file. */
const damages: Readonly<Record<string, (path: string) => void>> = {
  empty: (path) => truncateSync(path, 0),
  overwritten: (path) => writeFileSync(path, 'garbage{'),
  missing: (path) => rmSync(path),
}
/** Without a valid format file the store refuses to open, since a later version may own the root. */
const REFUSED_AT_OPEN = /^layerstack\/(format|[a-z0-9]+\.json)$/
const CONTENT = /^(vfs\/dir\/|overlay2\/[a-f0-9]{64}\/diff\/)|lock$/

const contenders = [
  { driver: 'overlay2', engine: 'userspace' },
  { driver: 'vfs', engine: 'userspace' },
] as const

describe.each(contenders)('Store on $driver', (settings) => {
  let scratch: string
  let archives: string[]
  const open = (root: string): Promise<Store> => openStore({ root, ...settings })

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-torn-'))
    archives = [join(scratch, '1.tar'), join(scratch, '2.tar')]
    const base = await layerTar([{ name: 'base', content: 'base' }])
    const upper = await layerTar([{ name: 'upper', content: 'upper' }])
    await writeArchive(archives[0] as string, imageOf([base], 'app:1'))
    await writeArchive(archives[1] as string, imageOf([base, upper], 'app:2'))
    await using store = await open(join(scratch, 'whole'))
    for (const archive of archives) await store.load(archive)
    const keeper = await store.createContainer('app:2', { name: 'keeper' })
    await keeper.fs.writeFile('/mine', 'mine')
    const given = await store.createContainer('app:1')
    await given.fs.writeFile('/given', 'given')
    await given.commit({ reference: 'app:3', consume: true })
  })

  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  it.each(Object.keys(damages))('survives if any of its metadata files is %s', async (damage) => {
    const files = filesOf(join(scratch, 'whole')).filter((file) => !CONTENT.test(file))
    expect(files.length).toBeGreaterThan(20)
    const lost: string[] = []
    for (const file of files) {
      const root = join(scratch, 'root')
      copyTree(join(scratch, 'whole'), root)
      damages[damage]?.(join(root, file))
      await typed(file, () => outlive(root, file, lost))
      rmSync(root, { recursive: true })
    }
    // The container is lost only with its own files and those of its image.
    expect(
      lost.filter((file) => !/mounts|layerdb\/sha256|overlay2\/|imagedb|containers\//.test(file)),
    ).toEqual([])
  })

  it.each(['empty', 'missing'])(
    'refuses to flatten an image if a file in one of its layers is %s',
    async (damage) => {
      const root = join(scratch, 'flattened')
      copyTree(join(scratch, 'whole'), root)
      for (const file of filesOf(root).filter((path) => CONTENT.test(path) && path.endsWith('/upper')))
        damages[damage]?.(join(root, file))
      await using store = await open(root)
      const before = await driverOf(store).list()
      await expect(store.flatten('app:2')).rejects.toMatchObject({
        code: 'STORE_CORRUPT',
        hint: expect.any(String),
        path: 'upper',
      })
      expect(await driverOf(store).list()).toEqual(before)
      rmSync(root, { recursive: true })
    },
  )

  async function outlive(root: string, file: string, lost: string[]): Promise<void> {
    let store: Store
    try {
      store = await open(root)
    } catch (error) {
      expect(file).toMatch(REFUSED_AT_OPEN)
      throw error
    }
    await using _closed = store
    await typed(file, () => store.images())
    await typed(file, () => store.diskUsage())
    const first = await store.check({ repair: true, discard: true })
    for (const archive of archives) await typed(file, () => store.load(archive))
    const left = (await store.check({ repair: true, discard: true })).problems.filter(
      ({ repaired }) => !repaired,
    )
    const keeper = await held(store)
    if (keeper === undefined) lost.push(file)
    // A missing record cannot be detected.
    const isReported = first.problems.length > 0 || file.startsWith('layerstack/containers/')
    if (keeper === undefined && !isReported) {
      expect.fail(`the container is lost with ${file} damaged, but check() reports no problem`)
    }
    // Only layers that the container uses may remain damaged. Without the container the repair succeeds.
    if (left.length > 0) {
      for (const { id } of await store.containers()) await (await store.openContainer(id)).remove()
      await store.check({ repair: true, discard: true })
      for (const archive of archives) await store.load(archive)
      const { problems } = await store.check({ repair: true, discard: true })
      expect(
        problems.filter(({ kind }) => kind !== 'image-incomplete'),
        file,
      ).toEqual([])
    }
    const [image] = await store.load(archives[1] as string)
    const container = await store.createContainer(image?.id ?? '')
    expect(await container.fs.readFile('/upper', 'utf8')).toBe('upper')
    await container.remove()
  }
})

/** Keeps owners, times and xattrs, which check() compares. */
function copyTree(from: string, to: string): void {
  execFileSync('cp', ['-a', from, to])
}

async function held(store: Store): Promise<string | undefined> {
  try {
    const [record] = await store.containers()
    const container = await store.openContainer(record?.id ?? 'none')
    await container.mount().catch(() => undefined)
    const text = `${await container.fs.readFile('/upper', 'utf8')} ${await container.fs.readFile('/mine', 'utf8')}`
    await container.unmount()
    return text === 'upper mine' ? text : undefined
  } catch {
    return undefined
  }
}

async function typed(file: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (error instanceof Error && error.name === 'AssertionError') throw error
    if (!(error instanceof StoreError))
      throw new Error(`${file} is damaged, and the error is not a StoreError`, { cause: error })
  }
}

function filesOf(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
}
