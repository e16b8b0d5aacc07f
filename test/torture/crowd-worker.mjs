// One of several processes that change the metadata of one store for the given time in ms. Prints JSON: the longest
// time of each call in ms, and the number of calls.
import { randomBytes } from 'node:crypto'
import { openStore } from '#layerstack/index.js'
import { isRefusal } from './crash-operations.mjs'

const [root, options, duration, archive] = process.argv.slice(2)
const store = await openStore({ root, ...JSON.parse(options) })
const end = Date.now() + Number(duration)
const slowest = {}
let calls = 0

const pick = (items) => items[Math.trunc(Math.random() * items.length)]

/** Measures a metadata call. */
async function timed(name, call) {
  const start = performance.now()
  try {
    return await call()
  } finally {
    slowest[name] = Math.max(slowest[name] ?? 0, performance.now() - start)
    calls++
  }
}

const steps = [
  async () => {
    const image = pick(await timed('images', () => store.images()))
    const container = await timed('createContainer', () => store.createContainer(image.id))
    await timed('containers', () => store.containers())
    await timed('remove container', () => container.remove())
  },
  async () => {
    const image = pick(await timed('images', () => store.images()))
    const name = `crowd:${randomBytes(4).toString('hex')}`
    await timed('tag', () => store.tag(image.id, name))
    await timed('remove name', () => store.remove(name))
  },
]
// Long work beside the measured calls: loads and removes layers of thousands of files.
const heavy = [
  async () => {
    const [image] = await store.load(archive)
    await store.remove(image.id, { force: true })
  },
  () => store.prune(),
]

while (Date.now() < end) {
  try {
    await pick(archive === undefined ? steps : heavy)()
  } catch (error) {
    if (!isRefusal(error)) throw error
  }
}
await store.close()
console.log(JSON.stringify({ slowest, calls }))
