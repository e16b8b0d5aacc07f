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

describe('Store on a third-party driver', () => {
  it('commits from one read of the trees, without a tar', unless(noCalls), async () => {
    const calls = await countedCommits((driver) => driver)
    expect(calls).toEqual({ diff: 0, diffTrees: 2 })
  })

  it('commits the diff of a driver without `diffTrees`', unless(noCalls), async () => {
    const calls = await countedCommits((driver) => replaced(driver, { diffTrees: undefined }))
    expect(calls).toEqual({ diff: 2, diffTrees: 0 })
  })
})

/** Commits a container, then consumes it. @returns how often each driver method was called */
async function countedCommits(
  wrap: (driver: Driver) => Driver,
): Promise<{ diff: number; diffTrees: number }> {
  const root = join(scratch, 'root')
  const archive = join(scratch, 'image.tar')
  await writeArchive(archive, imageOf([await layerTar([])]))
  const calls = { diff: 0, diffTrees: 0 }
  const driver = wrap(counted(await copy.open({ root }), calls))
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
    diff: (...args) => {
      calls.diff++
      return driver.diff(...args)
    },
    diffTrees: (...args) => {
      calls.diffTrees++
      return (driver.diffTrees as NonNullable<Driver['diffTrees']>)(...args)
    },
  })
}
