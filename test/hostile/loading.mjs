// Loads archives, one after the other, each in a store of its own: node loading.mjs DRIVER ENGINE SCRATCH FILE…
// Prints a line of JSON for each: code, message, seconds, cpuSeconds, megabytes that the peak grew by, and what stayed behind.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { openStore } from '#layerstack/index.js'

const [driver, engine, scratch, warm, ...files] = process.argv.slice(2)
const root = join(scratch, 'root')
const store = await openStore({ root, driver, engine })
// Worker threads are there from now on.
await store.load(warm)
for (const file of files) {
  const before = tree()
  const peak = process.resourceUsage().maxRSS
  const cpu = process.cpuUsage()
  const start = performance.now()
  const error = await store.load(file).then(
    () => undefined,
    (reason) => reason,
  )
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const megabytes = (process.resourceUsage().maxRSS - peak) / 1024
  const left = tree().filter((path) => !before.includes(path))
  const { name, code, message } = error ?? {}
  console.log(
    JSON.stringify({ name, code, message, seconds, cpuSeconds: (user + system) / 1e6, megabytes, left }),
  )
}
await store.close()
rmSync(root, { recursive: true, force: true })

function tree() {
  return readdirSync(root, { recursive: true }).filter((path) => !/devicemapper|data$|metadata$/.test(path))
}
