/** @module-tag every-identity */
import { closeSync, fstatSync, lstatSync, openSync, statSync, symlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { futimens, utimensat } from '#layerstack/sys/times.js'
import { noCalls, unless } from '../support/needs.js'
import { Scratch } from './scratch.js'

describe('times', unless(noCalls), () => {
  const moments = [0n, 1n, 1_234_567_890_123_456_789n, -1n, -1_500_000_001n, 2n ** 32n * 1_000_000_000n + 7n]

  it('are exact to the nanosecond before 1970 and after 2038', () => {
    using scratch = new Scratch()
    const file = scratch.file('a')
    const fd = openSync(file, 'r+')
    for (const moment of moments) {
      utimensat(file, moment, moment + 1n)
      expect(lstatSync(file, { bigint: true })).toMatchObject({ atimeNs: moment, mtimeNs: moment + 1n })
      futimens(fd, moment + 2n, moment + 3n)
      expect(fstatSync(fd, { bigint: true })).toMatchObject({ atimeNs: moment + 2n, mtimeNs: moment + 3n })
    }
    closeSync(fd)
  })

  it('do not change if they are undefined', () => {
    using scratch = new Scratch()
    const file = scratch.file('a')
    utimensat(file, 11n, 22n)
    utimensat(file, undefined, 33n)
    expect(lstatSync(file, { bigint: true })).toMatchObject({ atimeNs: 11n, mtimeNs: 33n })
    utimensat(file, 44n, undefined)
    expect(lstatSync(file, { bigint: true })).toMatchObject({ atimeNs: 44n, mtimeNs: 33n })
  })

  it('of a symlink are separate from those of its target', () => {
    using scratch = new Scratch()
    utimensat(scratch.file('a'), 1n, 2n)
    symlinkSync('a', scratch.path('link'))
    utimensat(scratch.path('link'), 3n, 4n)
    expect(lstatSync(scratch.path('link'), { bigint: true }).mtimeNs).toBe(4n)
    expect(statSync(scratch.path('link'), { bigint: true }).mtimeNs).toBe(2n)
  })
})
