/**
 * Loads an archive into a store, in a process of its own: what a load leaves in memory is not measured with what is done
 * with the image afterwards. Arguments: root, driver, engine, archive, modules that bring drivers.
 */
import { mkdir } from 'node:fs/promises'
import { openStore, type Engine } from 'layerstack'
import { registryWith } from './contender.js'

const [root = '', driver = '', engine, archive = '', ...modules] = process.argv.slice(2)
await mkdir(root, { recursive: true })
const factory = (await registryWith(modules)).get(driver)
const opened = await factory.open({ root, engine: engine as Engine, readOnly: false })
const store = await openStore({ root, driver: opened })
await store.load(archive)
await store.close()
