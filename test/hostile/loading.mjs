// Loads archives one by one into one store: node loading.mjs DRIVER ENGINE SCRATCH GOOD FILE…
// Prints a line of JSON for each FILE: name, code and message of the error, seconds, cpuSeconds, megabytes by which
// peak memory grew, and paths left behind. GOOD is loaded first to start the threads.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { openStore } from '#layerstack/index.js'

const [driver, engine, scratch, good, ...files] = process.argv.slice(2)
const root = join(scratch, 'root')
const store = await openStore({ root, driver, engine })
const [image] = await store.load(good)
await store.remove(image.id, { force: true })
for (const file of files) {
  const before = new Set(tree())
  const peak = process.resourceUsage().maxRSS
  const cpu = process.cpuUsage()
  const start = performance.now()
  const { name, code, message } = (await store.load(file).catch((reason) => reason)) ?? {}
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const megabytes = (process.resourceUsage().maxRSS - peak) / 1024
  const left = tree().filter((path) => !before.has(path))
  console.log(
    JSON.stringify({ name, code, message, seconds, cpuSeconds: (user + system) / 1e6, megabytes, left }),
  )
}
await store.close()
rmSync(root, { recursive: true, force: true })

/** All paths except files of leases, holds and locks, which are reused. */
function tree() {
  return readdirSync(root, { recursive: true }).filter(
    (path) => !/^layerstack\/(leases|holds|locks)/.test(path),
  )
}
