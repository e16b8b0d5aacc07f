// Makes random calls on the store in the given root forever.
import { openStore } from '#layerstack/index.js'

const [root, options, ...archives] = process.argv.slice(2)
const store = await openStore({ root, ...JSON.parse(options) })
console.log('works')

const pick = (items) => items[Math.floor(Math.random() * items.length)]
const anyImage = async () => pick(await store.images())
const steps = {
  load: () => store.load(pick(archives)),
  async create() {
    const image = await anyImage()
    const container = await store.createContainer(image.id)
    await container.fs.writeFile('/written', `${Math.random()}`)
    await container.unmount()
  },
  async commit() {
    const record = pick(await store.containers())
    const container = await store.openContainer(record.id)
    await container.fs.mkdir(`/dir-${Math.random()}`)
    await container.fs.rm('/etc', { recursive: true, force: true })
    await container.commit({ reference: `app:${pick([1, 2, 3])}`, consume: Math.random() < 0.5 })
    await container.unmount()
  },
  async removeContainer() {
    const container = await store.openContainer(pick(await store.containers()).id)
    await container.remove()
  },
  async flatten() {
    await store.flatten((await anyImage()).id, { reference: `flat:${pick([1, 2])}` })
  },
  async tag() {
    await store.tag((await anyImage()).id, `tagged:${pick([1, 2, 3])}`)
  },
  async remove() {
    await store.remove((await anyImage()).id, { force: true })
  },
  prune: () => store.prune(),
}

for (;;) {
  try {
    await pick(Object.values(steps))()
  } catch (error) {
    // These are expected: nothing to pick from, or another worker was first.
    const known = ['_IN_USE', '_NOT_FOUND', '_CONFLICT', '_UNMOUNTED'].some((end) =>
      error.code?.endsWith(end),
    )
    if (!known && !(error instanceof TypeError)) {
      console.error(error)
      process.exit(1)
    }
  }
}
