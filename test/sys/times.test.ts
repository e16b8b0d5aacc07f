import { closeSync, fstatSync, lstatSync, openSync, statSync, symlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { futimens, utimensat } from '#layerstack/sys/times.js'
import { noCalls, unless } from '../support/needs.js'
import { Place } from './place.js'

describe('times', unless(noCalls), () => {
  const moments = [0n, 1n, 1_234_567_890_123_456_789n, -1n, -1_500_000_001n, 2n ** 32n * 1_000_000_000n + 7n]

  it('are kept to the nanosecond, before 1970 and after 2038', () => {
    using place = new Place()
    const file = place.file('a')
    const fd = openSync(file, 'r+')
    for (const moment of moments) {
      utimensat(file, moment, moment + 1n)
      expect(lstatSync(file, { bigint: true })).toMatchObject({ atimeNs: moment, mtimeNs: moment + 1n })
      futimens(fd, moment + 2n, moment + 3n)
      expect(fstatSync(fd, { bigint: true })).toMatchObject({ atimeNs: moment + 2n, mtimeNs: moment + 3n })
    }
    closeSync(fd)
  })

  it('that are not given stay', () => {
    using place = new Place()
    const file = place.file('a')
    utimensat(file, 11n, 22n)
    utimensat(file, undefined, 33n)
    expect(lstatSync(file, { bigint: true })).toMatchObject({ atimeNs: 11n, mtimeNs: 33n })
    utimensat(file, 44n, undefined)
    expect(lstatSync(file, { bigint: true })).toMatchObject({ atimeNs: 44n, mtimeNs: 33n })
  })

  it('of a symlink are its own', () => {
    using place = new Place()
    utimensat(place.file('a'), 1n, 2n)
    symlinkSync('a', place.path('link'))
    utimensat(place.path('link'), 3n, 4n)
    expect(lstatSync(place.path('link'), { bigint: true }).mtimeNs).toBe(4n)
    expect(statSync(place.path('link'), { bigint: true }).mtimeNs).toBe(2n)
  })
})
