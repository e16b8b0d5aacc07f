import { describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { attacks } from './attacks.js'
import { runAttack } from './run-attack.js'

/** Enough for one round of each attack, and for more of the quick ones. */
const SECONDS = 5

it('attacks have distinct names', () => {
  const names = attacks.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
})

describe.runIf(attacks.length > 0)('every promise holds under a short attack:', () => {
  for (const attack of attacks) {
    it(attack.name, unless(attack.reason), async () => {
      const seed = Math.trunc(Math.random() * 1_000_000)
      const { violations } = await runAttack(attack, seed, SECONDS)
      expect(violations, `seed ${seed}`).toEqual([])
    })
  }
})
