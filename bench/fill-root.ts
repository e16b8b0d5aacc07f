/**
 * Fills a driver's root with the images or layers that a contender works on. This is a separate process, so that its
 * memory is not measured with the work.
 *
 *     node fill-root.js FILLING FILE ROOT DRIVER ENGINE [MODULE…]
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
    // The name keeps it when its child is removed.
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
