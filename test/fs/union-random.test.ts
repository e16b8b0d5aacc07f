import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { Bench, noOracle } from './union-bench.js'
import { driveAlike, randomBench, treeOf } from './union-drive.js'
import { bytes } from './union-layers.js'
import { randomNumbers } from './union-random.js'

const SEEDS = (process.env['LAYERSTACK_SEEDS'] ?? '1 2 3 4').split(' ').map(Number)
const STEPS = 1500
const ROUNDS = 3
const KILLS = 6
const reason = noOracle()
if (reason !== undefined) console.warn(`union: no random sequences against the kernel, since ${reason}`)

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove()
})

describe('a union and a kernel’s overlay', unless(reason), () => {
  for (const seed of SEEDS) {
    it(`stay alike for ${ROUNDS} x ${STEPS} steps, each going on where the other stopped (seed ${seed})`, () => {
      const [a, b] = [randomBench(seed, { marks: true }), randomBench(seed, { marks: true })]
      benches.push(a, b)
      const random = randomNumbers(seed * 1000)
      for (let round = 0; round < ROUNDS; round += 1) {
        const [ours, theirs] = round % 2 === 0 ? [a, b] : [b, a]
        const what = `seed ${seed}, round ${round}`
        const union = ours.union()
        driveAlike(union, theirs.mount(), { steps: STEPS, random, what })
        union.close()
        theirs.unmount()
        expect(ours.marks(bytes('')), what).toEqual(theirs.marks(bytes('')))
        expectInterchange(ours, theirs)
      }
    })
  }

  it(`show the same after a kill -9 at any moment, and files are whole`, async () => {
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

/** What one wrote, the other shows. */
function expectInterchange(ours: Bench, theirs: Bench): void {
  const byUs = ours.union()
  const byKernel = ours.mount()
  expect(treeOf(byKernel)).toEqual(treeOf(byUs))
  byUs.close()
  ours.unmount()
  const written = treeOf(theirs.mount())
  theirs.unmount()
  const union = theirs.union()
  expect(treeOf(union)).toEqual(written)
  union.close()
}

/** Size and digest of a regular file. */
function contentOf(line: string): string {
  return / (\d+ [0-9a-f]{12})(?: |$)/.exec(line)?.[1] ?? ''
}
