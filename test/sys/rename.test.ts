import { existsSync, lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { renameExchange, renameLeavingWhiteout } from '#layerstack/sys/rename.js'
import { noCalls, unless } from '../support/needs.js'
import { Place, thrownBy } from './place.js'

describe('renameat2', unless(noCalls), () => {
  it('exchanges two paths', () => {
    using place = new Place()
    place.file('a', 'A')
    mkdirSync(place.path('b'))
    expect(renameExchange(place.path('a'), place.path('b'))).toBe(true)
    expect([statSync(place.path('a')).isDirectory(), readFileSync(place.path('b'), 'utf8')]).toEqual([
      true,
      'A',
    ])
    expect(thrownBy(() => renameExchange(place.path('a'), place.path('c'))).code).toBe('ENOENT')
  })

  it('leaves a whiteout', () => {
    using place = new Place()
    place.file('a', 'A')
    // An ordinary user may make one since Linux 5.8, but this call asks for CAP_MKNOD on some kernels still.
    const could = renameLeavingWhiteout(place.path('a'), place.path('b'))
    expect(existsSync(place.path('b'))).toBe(could)
    const left = lstatSync(place.path('a'))
    expect(could ? left.isCharacterDevice() && left.rdev === 0 : left.isFile()).toBe(true)
  })
})
