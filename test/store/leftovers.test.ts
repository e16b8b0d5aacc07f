/** @module-tag every-identity */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Driver } from '#layerstack/index.js'
import { temporaryName } from '#layerstack/sys/temporary-name.js'
import { nameOfDead } from '../support/dead-name.js'
import { unmountBelow } from '../support/mounts.js'
import { driverOf } from '../support/store-parts.js'
import { noCalls, unless } from '../support/needs.js'
import { leftoversOf } from '../torture/leftovers.js'
import { imageOf, layerTar, writeArchive } from './archive.js'
import { optionsOf, storeSettings } from './settings.js'

let scratch: string
let root: string
let archive: string

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-leftovers-'))
  root = join(scratch, 'root')
  archive = join(scratch, 'image.tar')
  await writeArchive(archive, imageOf([await layerTar([{ name: 'file', content: 'x' }])], 'app:1'))
})

afterEach(async () => {
  await unmountBelow(scratch)
  rmSync(scratch, { recursive: true, force: true })
})

for (const settings of storeSettings) {
  const { name, reason } = settings
  describe(`leftovers of ended processes on ${name}`, unless(reason), () => {
    const options = optionsOf(settings)

    it('are removed by the next open; files of running processes stay', async () => {
      {
        await using store = await openStore({ root, ...options })
        await store.load(archive)
      }
      const [left, used] = plant(settings.driver as string)
      await using store = await openStore({ root, ...options })
      expect(left.filter((path) => exists(path))).toEqual([])
      expect(used.filter((path) => !exists(path))).toEqual([])
      for (const path of used) rmSync(path, { recursive: true })
      expect(await leftoversOf(store)).toEqual([])
      expect((await store.check()).problems).toEqual([])
    })

    it('are removed by prune(); files of running processes stay', async () => {
      await using store = await openStore({ root, ...options })
      await store.load(archive)
      const [left, used] = plant(settings.driver as string)
      await store.prune()
      expect(left.filter((path) => exists(path))).toEqual([])
      expect(used.filter((path) => !exists(path))).toEqual([])
      for (const path of used) rmSync(path, { recursive: true })
      expect(await leftoversOf(store)).toEqual([])
    })
  })
}

/** Creates the leftovers of a kill at every moment, and the same files as a running process would have them. */
function plant(driver: string): [left: string[], used: string[]] {
  const [image, own] = [join(root, 'image', driver), join(root, 'layerstack')]
  const id = createHash('sha256').update('no layer').digest('hex')
  const left: string[] = []
  const used: string[] = []
  for (const directory of [
    image,
    join(image, 'imagedb/content/sha256'),
    join(image, 'imagedb/metadata/sha256'),
    own,
    join(own, 'containers', driver),
    join(own, 'leases', driver),
    join(own, 'tmp'),
    ...(driver === 'overlay2' ? [join(root, 'overlay2/l')] : []),
    ...(driver === 'devicemapper' ? [join(root, 'devicemapper/metadata')] : []),
  ]) {
    left.push(plantFile(directory, nameOfDead('file')))
    used.push(plantFile(directory, temporaryName('file')))
  }
  left.push(plantFile(join(own, 'tmp', nameOfDead('archive')), 'archive.tar'))
  left.push(plantFile(join(own, 'holds', driver), nameOfHold(id)))
  left.push(plantFile(join(image, 'layerdb/tmp', `write-set-${id}`), 'diff'))
  left.push(plantFile(join(image, 'imagedb/metadata/sha256', id), 'parent'))
  used.push(plantFile(join(image, 'layerdb/tmp'), 'write-set-123456789'))
  if (driver === 'vfs') {
    left.push(plantFile(join(root, 'vfs/dir', `${id}-making`), 'file'))
    left.push(plantFile(join(root, 'vfs/dir', `${id}-removing`), 'file'))
    left.push(plantFile(join(root, 'vfs/dir'), `${id}.attributes`))
  }
  if (driver === 'overlay2') {
    const link = join(root, 'overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ')
    symlinkSync(`../${id.replace(/^./, '0')}/diff`, link)
    left.push(link, plantFile(join(root, 'overlay2', id), 'lower'))
  }
  return [left, used]
}

/** Name of the claim file of a hold. Without koffi it ends in a suffix of its process. */
function nameOfHold(id: string): string {
  return noCalls === undefined ? id : `${id}.0123456789ab`
}

function plantFile(directory: string, name: string): string {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, name)
  writeFileSync(path, '')
  return path
}

/** Also true for a dangling symlink. */
function exists(path: string): boolean {
  return existsSync(dirname(path)) && readdirSync(dirname(path)).some((name) => path.endsWith(`/${name}`))
}

describe('remove() of a layer', () => {
  it('deletes files outside of the lock, so other calls proceed', async () => {
    const settings = { root, driver: 'vfs' } as const
    await using plain = await openStore(settings)
    const [image] = await plain.load(archive)
    let begin = (): void => undefined
    let finish = (): void => undefined
    const began = new Promise<void>((resolve) => (begin = resolve))
    const finished = new Promise<void>((resolve) => (finish = resolve))
    await using slow = await openStore({ root, driver: slowly(driverOf(plain), begin, finished) })
    const removal = slow.remove('app:1')
    await began
    expect(await plain.images()).toEqual([])
    await plain.load(archive)
    await plain.tag('app:1', 'app:2')
    finish()
    expect((await removal).deleted).toEqual([image?.id])
    expect((await plain.check()).problems).toEqual([])
  })
})

/** The same driver, but `remove` waits for `finished`. */
function slowly(driver: Driver, begin: () => void, finished: Promise<void>): Driver {
  const remove = async (id: string): Promise<void> => {
    begin()
    await finished
    await driver.remove(id)
  }
  return new Proxy(driver, {
    get: (target, key) => {
      if (key === 'remove') return remove
      const value: unknown = Reflect.get(target, key)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
