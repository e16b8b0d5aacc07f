// Loads the archive on stdin into a store at the given root, and exports the image, as the current user.
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { openStore } from '#layerstack/index.js'

const [root, driver, exported] = process.argv.slice(2)
const store = await openStore({ root, driver })
try {
  const [image] = await store.load(process.stdin)
  const container = await store.createContainer(image.id)
  await pipeline(container.export(), createWriteStream(exported))
  console.log(JSON.stringify({ id: image.id, status: await store.status() }))
} finally {
  await store.close()
}
