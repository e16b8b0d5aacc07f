/** @module-tag every-identity */
import { existsSync, lstatSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { renameExchange, renameLeavingWhiteout } from '#layerstack/sys/rename.js'
import { noCalls, unless } from '../support/needs.js'
import { Scratch, thrownBy } from './scratch.js'

describe('renameat2', unless(noCalls), () => {
  it('exchanges two paths', () => {
    using scratch = new Scratch()
    scratch.file('a', 'A')
    mkdirSync(scratch.path('b'))
    expect(renameExchange(scratch.path('a'), scratch.path('b'))).toBe(true)
    expect([statSync(scratch.path('a')).isDirectory(), readFileSync(scratch.path('b'), 'utf8')]).toEqual([
      true,
      'A',
    ])
    expect(thrownBy(() => renameExchange(scratch.path('a'), scratch.path('c'))).code).toBe('ENOENT')
  })

  it('leaves a whiteout, or reports that the kernel refuses and renames nothing', () => {
    using scratch = new Scratch()
    scratch.file('a', 'A')
    // Since Linux 5.8 ordinary users may create whiteouts, but this call still needs CAP_MKNOD on some kernels.
    const could = renameLeavingWhiteout(scratch.path('a'), scratch.path('b'))
    expect(existsSync(scratch.path('b'))).toBe(could)
    const left = lstatSync(scratch.path('a'))
    expect(could ? left.isCharacterDevice() && left.rdev === 0 : left.isFile()).toBe(true)
  })
})
