// Runs each call with ever more free file descriptors until it succeeds, repeats it after each failure, and prints the
// calls that could not be repeated as JSON. The parent process limits the descriptors.
import { closeSync, openSync } from 'node:fs'
import { openStore } from '#layerstack/index.js'

const [root, options, base, layered, only] = process.argv.slice(2)
const open = () => openStore({ root, ...JSON.parse(options) })
const violations = []
let store = await open()
await store.load(base)
let made = 0

async function written() {
  const container = await store.createContainer('base:1', { name: `container-${made++}` })
  await container.fs.writeFile('/work', `work ${made}`)
  return container
}

async function gone(container) {
  const there = (await store.containers()).some(({ id }) => id === container.id)
  return there ? 'the container still exists' : undefined
}

/** `make` prepares the subject of `run`. After `run` has succeeded, `wrong` may return a violation. */
const calls = {
  remove: { make: written, run: (container) => container.remove(), wrong: gone },
  consume: {
    make: written,
    run: (container) => container.commit({ reference: `consumed:${container.name}`, consume: true }),
    async wrong(container) {
      const names = (await store.images()).flatMap(({ references }) => references)
      return names.includes(`consumed:${container.name}`) ? gone(container) : 'the image does not exist'
    },
  },
  commit: {
    make: written,
    run: (container) => container.commit({ reference: 'committed:1' }),
    wrong: (container) => container.remove(),
  },
  unmount: {
    make: written,
    run: (container) => container.unmount(),
    wrong: (container) => container.remove(),
  },
  mount: {
    async make() {
      const container = await written()
      await container.unmount()
      return container
    },
    run: async ({ name }) => (await store.openContainer(name)).unmount(),
    wrong: (container) => container.remove(),
  },
  createContainer: {
    make: async () => ({ name: `container-${made++}` }),
    async run(wanted) {
      // The container may exist already if only its mount failed.
      const there = (await store.containers()).find(({ name }) => name === wanted.name)
      const container = there
        ? await store.openContainer(there.id)
        : await store.createContainer('base:1', wanted)
      await container.unmount()
    },
    wrong: async ({ name }) => (await store.openContainer(name)).remove(),
  },
  load: { run: () => store.load(layered), wrong: () => store.remove('layered:1') },
  tag: { run: () => store.tag('base:1', 'tagged:1') },
  flatten: { run: () => store.flatten('base:1', { reference: 'flat:1' }) },
  removeImage: {
    make: () => store.load(layered),
    run: async () => {
      const names = (await store.images()).flatMap(({ references }) => references)
      if (names.includes('layered:1')) await store.remove('layered:1')
    },
  },
  prune: { run: () => store.prune() },
}

for (const [name, call] of Object.entries(calls)) {
  if (only !== undefined && !only.split(',').includes(name)) continue
  for (let free = 0, succeeded = false; !succeeded; free++) {
    const subject = await call.make?.()
    const error = await failure(call, subject, free)
    succeeded = error === undefined
    const where = `${name} with ${free} free descriptors (${error?.message})`
    try {
      if (!succeeded) await call.run(subject)
      const wrong = await call.wrong?.(subject)
      if (typeof wrong === 'string') violations.push(`${where}: ${wrong}`)
    } catch (again) {
      violations.push(`${where} cannot be repeated: ${again.stack}`)
    }
    if (free > 100) throw new Error(`${where} always fails`)
    if (violations.length > 5) break
  }
  await checkAfterReopen(`after ${name}`)
}
await store.close()
console.log(JSON.stringify(violations))

/** Reopens the store, checks it, and removes its containers. */
async function checkAfterReopen(where) {
  await store.close()
  store = await open()
  const { problems } = await store.check()
  if (problems.length > 0) violations.push(`${where}: ${JSON.stringify(problems)}`)
  for (const { id } of await store.containers()) await (await store.openContainer(id)).remove()
}

async function failure(call, subject, free) {
  const taken = []
  try {
    for (;;) taken.push(openSync('/dev/null'))
  } catch {
    for (const fd of taken.splice(0, free)) closeSync(fd)
  }
  try {
    await call.run(subject)
    return undefined
  } catch (error) {
    return error
  } finally {
    for (const fd of taken) closeSync(fd)
  }
}
