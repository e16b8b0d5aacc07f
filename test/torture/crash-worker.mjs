// Makes random operations on a store forever. Appends a line to a ledger on another filesystem when an operation
// begins, and a line with its changes when it has resolved.
import { appendFileSync } from 'node:fs'
import { openStore } from '#layerstack/index.js'
import { isRefusal, operations } from './crash-operations.mjs'

const [root, options, ledger, seed, ...archives] = process.argv.slice(2)
let state = Number(seed)
const random = () => {
  state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
  return state / 2_147_483_648
}
const pick = (items) => items[Math.floor(random() * items.length)]
const record = (line) => appendFileSync(ledger, `${JSON.stringify(line)}\n`)

const store = await openStore({ root, ...JSON.parse(options) })
for (;;) {
  const name = pick(Object.keys(operations))
  record({ begins: name })
  try {
    record({ resolved: name, ...(await operations[name](store, archives, pick)) })
  } catch (error) {
    if (!isRefusal(error)) {
      record({ failed: name, message: String(error.stack) })
      process.exit(1)
    }
    record({ refused: name })
  }
}
