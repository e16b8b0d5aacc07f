/**
 * Puts into a driver's root what a side works on, in a process of its own: what that leaves in memory is not measured with
 * the work. Arguments: what to do, the file, root, driver, engine, modules that bring drivers.
 */
import { createReadStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { openStore, type Driver, type Engine } from 'layerstack'
import { registryWith } from './contender.js'
import type { Filling } from './filled-root.js'

const [what, file = '', root = '', driver = '', engine, ...modules] = process.argv.slice(2)

const fillings: Readonly<Record<Filling, (opened: Driver) => Promise<void>>> = {
  async load(opened) {
    await using store = await openStore({ root, driver: opened })
    await store.load(file)
  },
  async import(opened) {
    await using store = await openStore({ root, driver: opened })
    // With a name it stays when its child is removed.
    await store.import(file, { reference: 'bench/below' })
  },
  async layer(opened) {
    await opened.create('layer0')
    await opened.applyDiff('layer0', undefined, createReadStream(file))
    await opened.cleanup()
  },
}

await mkdir(root, { recursive: true })
const factory = (await registryWith(modules)).get(driver)
await fillings[what as Filling](await factory.open({ root, engine: engine as Engine, readOnly: false }))
