import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { optionsOf, storeSettings } from '../store/settings.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { unmountBelow } from '../support/mounts.js'
import { unless } from '../support/needs.js'

const ROUNDS = 25

let scratch: string
let archives: string[]
let workers: ChildProcess[]

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-faults-'))
  const base = await layerTar([
    { name: 'etc/', type: 'directory' },
    { name: 'etc/motd', content: 'hello\n' },
    ...Array.from({ length: 300 }, (_, index) => ({
      name: `file-${index}`,
      content: 'x'.repeat(index * 50),
    })),
  ])
  const upper = await layerTar([{ name: 'etc/.wh.motd' }, { name: 'large', content: 'y'.repeat(3_000_000) }])
  archives = []
  workers = []
  for (const [index, layers] of [[base], [base, upper], [upper, base]].entries()) {
    const path = join(scratch, `image-${index}.tar`)
    await writeArchive(path, imageOf(layers, `app:${index}`))
    archives.push(path)
  }
})

afterEach(async () => {
  await Promise.all(workers.map(kill))
  await unmountBelow(scratch)
  rmSync(scratch, { recursive: true, force: true })
})

describe.each(storeSettings)('on $name', ({ reason, ...settings }) => {
  const options = optionsOf(settings)

  it(
    `a process killed ${ROUNDS} times at any moment leaves a store that is whole at the next open`,
    unless(reason),
    async () => {
      const root = join(scratch, 'root')
      for (let round = 0; round < ROUNDS; round++) {
        const worker = await start(root)
        await sleep(Math.random() * 250)
        expect(worker.exitCode, 'the worker failed').toBe(null)
        await kill(worker)
        await using store = await openStore({ root, ...options })
        await expectWhole(store)
      }
    },
  )

  it(
    'three processes work on one store, and one of them is killed now and then',
    unless(reason),
    async () => {
      const root = join(scratch, 'root')
      mkdirSync(root)
      const others = [await start(root), await start(root)]
      for (let round = 0; round < 8; round++) {
        const worker = await start(root)
        await sleep(Math.random() * 300)
        await kill(worker)
      }
      for (const other of others) expect(other.exitCode, 'a worker failed').toBe(null)
      await Promise.all(others.map(kill))
      await using store = await openStore({ root, ...options })
      await expectWhole(store)
    },
  )

  async function start(root: string): Promise<ChildProcess> {
    const script = join(import.meta.dirname, 'worker.mjs')
    const worker = spawn(process.execPath, [script, root, JSON.stringify(options), ...archives], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    workers.push(worker)
    await Promise.race([once(worker.stdout, 'data'), once(worker, 'exit')])
    return worker
  }
})

/** Nothing is damaged, nothing half made is left, and what the store names is what the driver has. */
async function expectWhole(store: Store): Promise<void> {
  const report = await store.check()
  expect(report.problems).toEqual([])
  const layers = await store.layers.list()
  const writables = await store.layers.writables()
  const named = [...layers.map(({ cacheId }) => cacheId), ...writables.map(({ mountId }) => mountId)]
  expect((await store.driver.list()).toSorted()).toEqual(named.toSorted())
  const records = await store.containers()
  expect(writables.map(({ name }) => name).toSorted()).toEqual(records.map(({ id }) => id).toSorted())
  const image = join(store.root, 'image', store.driver.name)
  expect(readdirSync(join(image, 'layerdb/tmp'))).toEqual([])
  expect(readdirSync(join(image, 'layerdb/sha256')).filter((name) => name.includes('-'))).toEqual([])
  const leases = join(store.root, 'layerstack/leases', store.driver.name)
  expect(existsSync(leases) ? readdirSync(leases) : []).toEqual([])
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
