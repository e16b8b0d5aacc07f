/** @module-tag thorough */
import { describe, expect, it } from 'vitest'
import { unless } from '../support/needs.js'
import { attacks } from './attacks.js'
import { runAttack } from './run-attack.js'

/** Enough for one round of each attack, and for several rounds of the quick ones. */
const SECONDS = 5
/** Fixed, so that every test run repeats the same attack. `npm run torture` uses other seeds. */
const SEED = 1

it('attacks have distinct names', () => {
  const names = attacks.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
})

describe('short attack finds no violation:', () => {
  for (const attack of attacks.filter(({ soaks }) => soaks !== true)) {
    it(attack.name, unless(attack.reason), async () => {
      const { violations } = await runAttack(attack, SEED, SECONDS)
      expect(violations).toEqual([])
    })
  }
})
