import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '#layerstack/drivers/driver.js'
import { openStore } from '#layerstack/index.js'
import { copy } from '../conformance/copy-driver.js'
import { noCalls, unless } from '../support/needs.js'
import { replaced } from '../support/replaced.js'
import { imageOf, layerTar, writeArchive } from './archive.js'

let scratch: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-own-driver-'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

describe('a store on a driver of somebody else', () => {
  it('commits what its trees differ in, read once and without a tar', unless(noCalls), async () => {
    const calls = await commits((driver) => driver)
    expect(calls).toEqual({ diff: 0, diffTrees: 2 })
  })

  it('commits the diff that the driver makes, where it tells no trees', unless(noCalls), async () => {
    const calls = await commits((driver) => replaced(driver, { diffTrees: undefined }))
    expect(calls).toEqual({ diff: 2, diffTrees: 0 })
  })
})

/** Commits a container, and consumes it. @returns how often the driver was asked */
async function commits(made: (driver: Driver) => Driver): Promise<{ diff: number; diffTrees: number }> {
  const root = join(scratch, 'root')
  const archive = join(scratch, 'image.tar')
  await writeArchive(archive, imageOf([await layerTar([])]))
  const calls = { diff: 0, diffTrees: 0 }
  const driver = made(counted(await copy.open({ root }), calls))
  await using store = await openStore({ root, driver })
  const [image] = await store.load(archive)
  const container = await store.createContainer(image?.id ?? '')
  await container.fs.writeFile('/new', 'written')
  const committed = await container.commit()
  await container.fs.writeFile('/new', 'written again')
  const consumed = await container.commit({ consume: true })
  for (const [{ id }, content] of [
    [committed, 'written'],
    [consumed, 'written again'],
  ] as const) {
    const again = await store.createContainer(id)
    expect((await again.fs.readFile('/new')).toString()).toBe(content)
    await again.remove()
  }
  expect((await store.check()).clean).toBe(true)
  return calls
}

function counted(driver: Driver, calls: { diff: number; diffTrees: number }): Driver {
  return replaced(driver, {
    diff: (...asked) => {
      calls.diff++
      return driver.diff(...asked)
    },
    diffTrees: (...asked) => {
      calls.diffTrees++
      return (driver.diffTrees as NonNullable<Driver['diffTrees']>)(...asked)
    },
  })
}
