// Makes one call of `kill-operations.mjs` between the marks that `kill-at` counts from and to.
import { mkdirSync } from 'node:fs'
import { openStore } from '#layerstack/index.js'
import { operations } from './kill-operations.mjs'

const [root, options, operation, inputs] = process.argv.slice(2)
const isOpening = operation === 'open'
if (isOpening) mark('arm')
const store = await openStore({ root, ...JSON.parse(options) })
if (!isOpening) {
  mark('arm')
  await operations[operation].run(store, JSON.parse(inputs))
}
mark('disarm')
await store.close()

function mark(name) {
  try {
    mkdirSync(`/dev/null/${name}`)
  } catch {
    // Always fails, since /dev/null is not a directory. The attempt is the mark.
  }
}
