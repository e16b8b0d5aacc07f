/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import type { ChainID } from '#layerstack/digest.js'
import { decodeClaim, driverIdsOf, encodeClaim, type Claim } from '#layerstack/layers/claims.js'

const [one, two, name] = ['1', '2', '3'].map((digit) => digit.repeat(64)) as [string, string, string]
const claims: Claim[] = [
  { kind: 'layer', id: one },
  { kind: 'layer', id: `${one}-init` },
  { kind: 'writable', name },
  { kind: 'use', mountId: one },
  { kind: 'adopt', mountId: one, cacheId: two, name },
  { kind: 'chain', id: `sha256:${one}` as ChainID },
]

describe('claim in a lease', () => {
  it.each(claims)('round-trips through its encoding: case %#, $kind', (claim) => {
    expect(decodeClaim(encodeClaim(claim))).toEqual(claim)
  })

  it.each([
    '',
    'writable',
    'writable ',
    `adopt ${one}`,
    `adopt ${one} ${two}`,
    'uses ../x',
    'sha256:12',
    '../x',
  ])('is not decoded from %j', (text) => {
    expect(decodeClaim(text)).toBeUndefined()
  })

  it('names driver layers, not containers or chains', () => {
    expect([...driverIdsOf(claims)].toSorted()).toEqual([one, `${one}-init`, two])
  })
})
