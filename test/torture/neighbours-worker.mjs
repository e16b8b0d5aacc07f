/**
 * One of several processes that share a root. Makes random calls for the given time and verifies the results of its own
 * resolved calls. At the end it prints a JSON line of `{ calls, slowest, slowestCall, violations }`.
 */
import { openStore } from '#layerstack/index.js'

const { root, options, name, seed, time, archives, manager } = JSON.parse(process.argv[2] ?? '{}')
const random = randomOf(seed)
/** Error codes of calls that lost a race against another process, as documented. */
const RACE_CODES = new Set(['LAYER_IN_USE', 'CONTAINER_IN_USE', 'IMAGE_IN_USE', 'NAME_CONFLICT'])
const violations = []
const slow = { ms: 0, call: '' }
let calls = 0
/** Files of each image by reference. No other process removes these images. */
const images = new Map()
const containers = new Map()
let store

const operations = {
  async load() {
    const archive = random.of(archives)
    const reference = `${name}/loaded:${random.below(3)}`
    await timed('load', () => store.load(archive.path))
    await timed('tag', () => store.tag(archive.id, reference)).catch(acceptPruned)
    if (await exists(reference)) images.set(reference, archive.files)
  },
  async create() {
    const [reference, files] = random.of([...images])
    const container = await timed('create', () => store.createContainer(reference))
    await container.fs.writeFile('/mine', name)
    await container.unmount()
    containers.set(container.id, { ...files, mine: name })
  },
  async commit() {
    const [id, files] = random.of([...containers])
    const consume = random.below(2) === 0
    const reference = `${name}/committed:${random.below(2)}`
    const container = await store.openContainer(id)
    await timed('commit', () => container.commit({ reference, consume }))
    if (consume) containers.delete(id)
    else await container.unmount()
    images.set(reference, files)
  },
  async flatten() {
    const [from, files] = random.of([...images])
    const reference = `${name}/flat:${random.below(2)}`
    await timed('flatten', () => store.flatten(from, { reference }))
    images.set(reference, files)
  },
  async remove() {
    const [reference] = random.of([...images])
    images.delete(reference)
    await timed('remove', () => store.remove(reference))
  },
  async removeContainer() {
    const [id] = random.of([...containers])
    containers.delete(id)
    const container = await store.openContainer(id)
    await timed('removeContainer', () => container.remove())
  },
  async verifyImage() {
    const [reference, files] = random.of([...images])
    const container = await timed('create', () => store.createContainer(reference))
    await expectFiles(`image ${reference}`, container, files)
    await timed('removeContainer', () => container.remove())
  },
  async verifyContainer() {
    const [id, files] = random.of([...containers])
    const container = await store.openContainer(id)
    await expectFiles(`container ${id}`, container, files)
    await container.unmount()
  },
  async diskUsage() {
    await timed('diskUsage', () => store.diskUsage())
  },
  async prune() {
    await timed('prune', () => store.prune())
  },
  async check() {
    const { problems } = await timed('check', () => store.check({ repair: true, discard: true }))
    for (const { kind, id, detail } of problems) violations.push(`false alarm: ${kind} ${id}: ${detail}`)
  },
}

try {
  store = await openStore({ root, ...options })
  const until = Date.now() + time
  while (Date.now() < until) {
    const call = choice()
    try {
      await operations[call]()
    } catch (error) {
      if (!RACE_CODES.has(error.code)) violations.push(`${call} failed: ${error.code} ${error.stack}`)
    }
    calls++
  }
  for (const [reference, files] of images) {
    const container = await store.createContainer(reference)
    await expectFiles(`at the end, image ${reference}`, container, files)
    await container.remove().catch(acceptLostRace)
  }
  await store.close()
} catch (error) {
  violations.push(`${name}: ${error.code} ${error.stack}`)
}
console.log(JSON.stringify({ calls, slowest: slow.ms, slowestCall: slow.call, violations }))

function choice() {
  const possible = ['load', 'diskUsage', 'prune']
  if (manager) possible.push('check')
  if (images.size > 0) possible.push('create', 'flatten', 'remove', 'verifyImage')
  if (containers.size > 0) possible.push('commit', 'removeContainer', 'verifyContainer')
  return random.of(possible)
}

/** Accepts a lost race: the check of another process may have the container open. */
function acceptLostRace(error) {
  if (!RACE_CODES.has(error.code)) throw error
}

/** Accepts that another process pruned the image between its load and its tag. */
function acceptPruned(error) {
  if (error.code !== 'IMAGE_NOT_FOUND') throw error
}

async function exists(reference) {
  return store.image(reference).then(
    () => true,
    () => false,
  )
}

async function expectFiles(subject, container, files) {
  for (const [path, content] of Object.entries(files)) {
    const found = await container.fs.readFile(`/${path}`, 'utf8').catch((error) => error.message)
    if (found !== content) violations.push(`${subject}: /${path} contains ${found}, not ${content}`)
  }
}

async function timed(call, work) {
  const start = performance.now()
  try {
    return await work()
  } finally {
    const ms = Math.round(performance.now() - start)
    if (ms > slow.ms) Object.assign(slow, { ms, call })
  }
}

/** Random choices derived from a seed (mulberry32). */
function randomOf(start) {
  let state = start >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit) => Math.floor(next() * limit)
  return { below, of: (items) => items[below(items.length)] }
}
