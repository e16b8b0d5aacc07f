import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { Bench, noOracle } from './union-bench.js'
import { randomBench, treeOf } from './union-drive.js'

const KILLS = 6
const reason = noOracle()
if (reason !== undefined) console.warn(`union: nothing is killed and given to the kernel, since ${reason}`)

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove()
})

describe('a union and a kernel’s overlay', unless(reason), () => {
  it('show the same after a kill -9 at any moment, and files are whole', async () => {
    for (let kill = 0; kill < KILLS; kill += 1) {
      const bench = randomBench(100 + kill, { marks: true })
      benches.push(bench)
      const contents = new Set(
        [bench.below('upper'), bench.union()].flatMap((fs) => treeOf(fs)).map(contentOf),
      )
      const program = new URL('union-churner.mjs', import.meta.url).pathname
      const env = { ...process.env, UNION_SPEC: JSON.stringify(bench.spec), UNION_SEED: String(kill) }
      const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      await sleep(kill * 7)
      child.kill('SIGKILL')
      await once(child, 'exit')
      const union = treeOf(bench.union())
      expect(treeOf(bench.mount())).toEqual(union)
      bench.unmount()
      expect(union.map(contentOf).filter((content) => !contents.has(content))).toEqual([])
    }
  })
})

/** Size and digest of a regular file. */
function contentOf(line: string): string {
  return / (\d+ [0-9a-f]{12})(?: |$)/.exec(line)?.[1] ?? ''
}
