// Takes a lock and then a lease. `hold`: prints a line and keeps both. `loop`: releases both and repeats forever.
import { Lease } from '#layerstack/durable/lease.js'
import { Lock } from '#layerstack/durable/lock.js'

const [mode, lockFile, leases] = process.argv.slice(2)
if (mode === 'loop') console.log('loops')
for (;;) {
  const lock = await Lock.acquire(lockFile)
  const lease = await Lease.take(leases, ['one', 'two'])
  if (mode === 'hold') {
    console.log('holds')
    await new Promise((resolve) => setTimeout(resolve, 60_000))
  }
  await new Promise((resolve) => setTimeout(resolve, 1))
  await lease.end()
  await lock.release()
}
