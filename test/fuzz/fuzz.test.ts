/** @module-tag every-identity */
import { afterAll, describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { isCaller, isThorough } from '../support/tier.js'
import { KINDS } from './arbitrary.js'
import { fuzz, showFound } from './fuzz.js'
import { pairs } from './pairs.js'

const SEED = Number(process.env['LAYERSTACK_FUZZ_SEED'] ?? 1)
/** Steps on each pair, for each identity that can run it. The caller's identity takes the most. */
const STEPS = Number(process.env['LAYERSTACK_FUZZ_STEPS'] ?? (isThorough ? (isCaller ? 400 : 100) : 40))

describe('random steps', () => {
  let taken = 0
  for (const pair of pairs) {
    it(`agree on ${pair.name} (seed ${SEED})`, { timeout: 600_000, ...unless(pair.reason) }, async () => {
      const { steps, found } = await fuzz(pair, SEED, ({ steps: done }) => done < STEPS)
      taken += steps
      if (found !== undefined) expect.fail(showFound(pair, found))
    })
  }
  it('have more than 40 kinds', () => expect(KINDS).toBeGreaterThan(40))
  afterAll(() => console.log(`fuzz: ${taken} steps from seed ${SEED}`))
})
