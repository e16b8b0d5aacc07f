// Increments a number in a file many times, each time under the lock. Without the lock, increments would be lost.
// A fourth argument also removes the lock file each time, as leases do.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { Lock } from '#layerstack/durable/lock.js'

const [lockFile, counter, times, removes] = process.argv.slice(2)
for (let done = 0; done < Number(times); done++) {
  const lock = await Lock.acquire(lockFile)
  const count = Number(readFileSync(counter, 'utf8'))
  await setImmediate()
  writeFileSync(counter, String(count + 1))
  if (removes !== undefined) rmSync(lockFile)
  await lock.release()
}
