import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore, type Store } from '#layerstack/index.js'
import { optionsOf, type StoreSettings, type DriverSettings } from '../store/settings.js'
import { imageOf, layerTar, writeArchive } from '../store/archive.js'
import { unmountBelow } from '../support/mounts.js'
import { unless } from '../support/needs.js'
import { leftoversOf } from '../torture/leftovers.js'
import { driverOf, layersOf } from '../support/store-parts.js'

export type Variant = StoreSettings & {
  /** How often a process is killed. @default 8 */
  readonly rounds?: number
  /** The longest time that a process works before it is killed, in ms. @default 80 */
  readonly longest?: number
  /** Another check of the root at the end. */
  readonly expectSound?: (root: string) => Promise<void>
}

let scratch: string
let archives: string[]
let workers: ChildProcess[]

/** Defines the tests that kill processes at random moments. */
export function killing({
  rounds = 8,
  longest = 250,
  expectSound,
  reason,
  name,
  ...settings
}: Variant): void {
  describe(`SIGKILL on ${name}`, () => {
    const options = optionsOf(settings as DriverSettings)

    beforeEach(prepare)
    afterEach(clear)

    it(`leaves a store that the next open recovers, ${rounds} times`, unless(reason), async () => {
      const root = join(scratch, 'root')
      for (let round = 0; round < rounds; round++) {
        const worker = await start(root)
        await sleep(Math.random() * longest)
        expect(worker.exitCode, 'the worker failed').toBe(null)
        await kill(worker)
        await using store = await openStore({ root, ...options })
        await expectIntact(store)
      }
      await expectSound?.(root)
    })

    it('of one of three processes on a store does not disturb the others', unless(reason), async () => {
      const root = join(scratch, 'root')
      mkdirSync(root)
      const others = [await start(root), await start(root)]
      for (let round = 0; round < Math.ceil(rounds / 3); round++) {
        const worker = await start(root)
        await sleep(Math.random() * longest)
        await kill(worker)
      }
      for (const other of others) expect(other.exitCode, 'a worker failed').toBe(null)
      await Promise.all(others.map(kill))
      {
        await using store = await openStore({ root, ...options })
        await expectIntact(store)
      }
      await expectSound?.(root)
    })

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
}

async function prepare(): Promise<void> {
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
}

async function clear(): Promise<void> {
  await Promise.all(workers.map(kill))
  await unmountBelow(scratch)
  rmSync(scratch, { recursive: true, force: true })
}

/** Expects no damage, no leftovers, and the same layers in the driver as in the layerdb. */
async function expectIntact(store: Store): Promise<void> {
  const report = await store.check()
  expect(report.problems).toEqual([])
  const layers = await layersOf(store).list()
  const writables = await layersOf(store).writables.list()
  const named = [...layers.map(({ cacheId }) => cacheId), ...writables.map(({ mountId }) => mountId)]
  expect((await driverOf(store).list()).toSorted()).toEqual(named.toSorted())
  const records = await store.containers()
  expect(writables.map(({ name }) => name).toSorted()).toEqual(records.map(({ id }) => id).toSorted())
  expect(await leftoversOf(store)).toEqual([])
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
