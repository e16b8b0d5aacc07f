import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { OverlayFixture, noOracle } from './overlay-fixture.js'
import { randomFixture, treeOf } from './union-drive.js'

const KILLS = 6
const reason = noOracle()
if (reason !== undefined) console.warn(`union: skipping the kill test: ${reason}`)

const fixtures: OverlayFixture[] = []
afterEach(() => {
  for (const fixture of fixtures.splice(0)) fixture.remove()
})

describe('a union killed with SIGKILL', unless(reason), () => {
  it('shows the same tree as the kernel’s overlay, and no partial file', async () => {
    for (let kill = 0; kill < KILLS; kill += 1) {
      const fixture = randomFixture(100 + kill, { marks: true })
      fixtures.push(fixture)
      const contents = new Set(
        [fixture.below('upper'), fixture.union()].flatMap((fs) => treeOf(fs)).map(contentOf),
      )
      const program = new URL('union-churner.mjs', import.meta.url).pathname
      const env = { ...process.env, UNION_SPEC: JSON.stringify(fixture.spec), UNION_SEED: String(kill) }
      const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      await sleep(kill * 7)
      child.kill('SIGKILL')
      await once(child, 'exit')
      const union = treeOf(fixture.union())
      expect(treeOf(fixture.mount())).toEqual(union)
      fixture.unmount()
      expect(union.map(contentOf).filter((content) => !contents.has(content))).toEqual([])
    }
  })
})

/** Size and digest of a regular file. */
function contentOf(line: string): string {
  return / (\d+ [0-9a-f]{12})(?: |$)/.exec(line)?.[1] ?? ''
}
