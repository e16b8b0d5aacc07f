/**
 * Swaps directories for symlinks until it is killed. Usage: swapping.mjs TREE PAIRS RENAME-MODULE
 *
 * Pair N is `dN` and `sN` in TREE, which becomes the working directory. The two exchange their names in one step if the
 * kernel can, otherwise in three. Prints `ready` when it begins.
 */
import { renameSync } from 'node:fs'

const [tree, pairs, renameModule] = process.argv.slice(2)
const { renameExchange } = await import(renameModule)
process.chdir(tree)

/** Whether the kernel can exchange names; undefined until the first attempt. */
let exchanges

function swap(n) {
  try {
    exchanges ??= renameExchange(`d${n}`, `s${n}`)
    if (exchanges) return void renameExchange(`d${n}`, `s${n}`)
    renameSync(`d${n}`, `t${n}`)
    renameSync(`s${n}`, `d${n}`)
    renameSync(`t${n}`, `s${n}`)
  } catch (error) {
    // The attacked process removed one of them.
    if (error.code === undefined) throw error
  }
}

const nothing = new Int32Array(new SharedArrayBuffer(4))

console.log('ready')
for (;;) {
  for (let n = 0; n < Number(pairs); n++) swap(n)
  // Without pauses, hardly any walk over the tree would finish.
  Atomics.wait(nothing, 0, 0, Math.random() * 4)
}
