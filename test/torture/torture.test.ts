import { describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { attacks } from './attacks.js'
import { runAttack } from './run-attack.js'

/** Enough for one round of each attack, and for more of the quick ones. */
const SECONDS = 5
/** The same attack in every run of the tests. `npm run torture` takes others. */
const SEED = 1

it('attacks have distinct names', () => {
  const names = attacks.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
})

describe('every promise holds under a short attack:', () => {
  for (const attack of attacks.filter(({ soaks }) => soaks !== true)) {
    it(attack.name, unless(attack.reason), async () => {
      const { violations } = await runAttack(attack, SEED, SECONDS)
      expect(violations).toEqual([])
    })
  }
})
