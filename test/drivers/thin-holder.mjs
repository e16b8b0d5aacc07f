// Opens a view of a layer and waits to be killed.
import { devicemapper } from '#layerstack/drivers/devicemapper/index.js'

const [root, id] = process.argv.slice(2)
const driver = await devicemapper.open({ root, engine: 'auto', readOnly: false })
await driver.get(id)
console.log('held')
setInterval(() => undefined, 1000)
