/** `node cold-start.js ROOT DRIVER ENGINE IMAGE [MODULE…]` creates a container and removes it. */
import type { Engine } from 'layerstack'
import { openStore } from 'layerstack'
import { registryWith } from '../contender.js'

const [root = '', name = '', engine = '', image = '', ...modules] = process.argv.slice(2)
const factory = (await registryWith(modules)).get(name)
const driver = await factory.open({ root, engine: engine as Engine, readOnly: false })
await using store = await openStore({ root, driver })
const container = await store.createContainer(image)
await container.remove()
