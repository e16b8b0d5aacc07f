// The operations of the attacks on durability. Each resolves to its changes, as facts that must hold later.
import { randomBytes } from 'node:crypto'

/**
 * @typedef {import('#layerstack/index.js').Store} Store
 * @typedef {{ kind: 'image' | 'container' | 'tag' | 'file', id: string, value?: string }} Fact `file`: `id` is a
 * container
 * @typedef {{ readonly set: Fact[], readonly gone: Fact[] }} Changes
 * @typedef {(store: Store, archives: readonly string[], pick: <T>(items: readonly T[]) => T) => Promise<Changes>}
 * Operation
 */

const changes = (set = [], gone = []) => ({ set, gone })
const imageFacts = (image) => [
  { kind: 'image', id: image.id },
  ...image.references.map((name) => ({ kind: 'tag', id: name, value: image.id })),
]

async function withContainer(store, pick, work) {
  const container = await store.openContainer(pick(await store.containers()).id)
  try {
    return await work(container)
  } finally {
    await container.unmount()
  }
}

/** @type {Record<string, Operation>} */
export const operations = {
  async load(store, archives, pick) {
    return changes((await store.load(pick(archives))).flatMap(imageFacts))
  },
  async createContainer(store, _, pick) {
    const image = pick(await store.images())
    const container = await store.createContainer(image.id)
    await container.unmount()
    return changes([{ kind: 'container', id: container.id }])
  },
  async writeSynced(store, _, pick) {
    return withContainer(store, pick, async (container) => {
      const value = randomBytes(3000).toString('hex')
      const file = await container.fs.open('/synced', 'w')
      try {
        await file.writeFile(value)
        await file.sync()
      } finally {
        await file.close()
      }
      return changes([{ kind: 'file', id: container.id, value }])
    })
  },
  async commit(store, _, pick) {
    return withContainer(store, pick, async (container) => {
      await container.fs.writeFile(`/committed-${randomBytes(4).toString('hex')}`, randomBytes(20_000))
      return changes(imageFacts(await container.commit({ reference: `committed:${pick([1, 2, 3])}` })))
    })
  },
  async consume(store, _, pick) {
    return withContainer(store, pick, async (container) => {
      await container.fs.writeFile('/consumed', randomBytes(20_000))
      const image = await container.commit({ reference: `consumed:${pick([1, 2, 3])}`, consume: true })
      return changes(imageFacts(image), [{ kind: 'container', id: container.id }])
    })
  },
  async removeContainer(store, _, pick) {
    const { id } = pick(await store.containers())
    await (await store.openContainer(id)).remove()
    return changes([], [{ kind: 'container', id }])
  },
  async flatten(store, _, pick) {
    const image = pick(await store.images())
    return changes(imageFacts(await store.flatten(image.id, { reference: `flat:${pick([1, 2])}` })))
  },
  async tag(store, _, pick) {
    const { id } = pick(await store.images())
    const name = `tagged:${pick([1, 2, 3])}`
    await store.tag(id, name)
    return changes([{ kind: 'tag', id: name, value: id }])
  },
  async remove(store, _, pick) {
    const { untagged, deleted } = await store.remove(pick(await store.images()).id, { force: true })
    return changes(
      [],
      [...untagged.map((id) => ({ kind: 'tag', id })), ...deleted.map((id) => ({ kind: 'image', id }))],
    )
  },
  async prune(store) {
    const { untagged, images } = await store.prune()
    return changes(
      [],
      [...untagged.map((id) => ({ kind: 'tag', id })), ...images.map((id) => ({ kind: 'image', id }))],
    )
  },
}

/** Whether the error is acceptable: the operation had nothing to pick, or a name or another process was in the way. */
export function isRefusal(error) {
  return (
    error instanceof TypeError ||
    ['_IN_USE', '_NOT_FOUND', '_CONFLICT'].some((end) => error.code?.endsWith(end) === true)
  )
}
