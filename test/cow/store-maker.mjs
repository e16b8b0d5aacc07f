/**
 * Creates the file of a store, and kills itself before a given step. If it completes, it prints its steps as JSON.
 * Arguments: the path, the number of the step.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const [path, kill] = process.argv.slice(2)
const done = []

for (const name of ['openSync', 'writeSync', 'fdatasyncSync', 'fdatasync', 'renameSync', 'rmSync']) {
  const call = fs[name]
  fs[name] = (...args) => {
    if (done.length === Number(kill)) process.kill(process.pid, 'SIGKILL')
    done.push(name)
    return call(...args)
  }
}
syncBuiltinESMExports()

const { openSharedStore } = await import('#layerstack/cow/shared-store.js')
done.length = 0
const { close } = await openSharedStore(path)
const made = [...done]
await close()
process.stdout.write(JSON.stringify(made))
