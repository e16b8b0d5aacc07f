/**
 * Swaps directories for symlinks until it is killed. Usage: swapping.mjs TREE PAIRS RENAME-MODULE
 *
 * Pair N is `dN` and `sN` in TREE, the current directory from then on. The two change places in one step where the system
 * can, else in three. Says `ready` when it has begun.
 */
import { renameSync } from 'node:fs'

const [tree, pairs, renameModule] = process.argv.slice(2)
const { renameExchange } = await import(renameModule)
process.chdir(tree)

/** Undefined until the first try tells. */
let exchanges

function swap(n) {
  try {
    exchanges ??= renameExchange(`d${n}`, `s${n}`)
    if (exchanges) return void renameExchange(`d${n}`, `s${n}`)
    renameSync(`d${n}`, `t${n}`)
    renameSync(`s${n}`, `d${n}`)
    renameSync(`t${n}`, `s${n}`)
  } catch (error) {
    // The attacked side removed one of them.
    if (error.code === undefined) throw error
  }
}

const nothing = new Int32Array(new SharedArrayBuffer(4))

console.log('ready')
for (;;) {
  for (let n = 0; n < Number(pairs); n++) swap(n)
  // Without pauses hardly any walk over the tree comes to its end.
  Atomics.wait(nothing, 0, 0, Math.random() * 4)
}
