import { execFileSync } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { deviceMajor, deviceMinor, mknod } from '#layerstack/sys/mknod.js'
import { noCalls, noDevices, unless } from '../support/needs.js'
import { Place, thrownBy } from './place.js'

describe('mknod', unless(noCalls), () => {
  it('makes FIFOs and sockets', () => {
    using place = new Place()
    mknod(place.path('fifo'), 'fifo', 0o600)
    mknod(place.path('socket'), 'socket', 0o600)
    expect(lstatSync(place.path('fifo')).isFIFO()).toBe(true)
    expect(lstatSync(place.path('socket')).isSocket()).toBe(true)
    expect(thrownBy(() => mknod(place.path('fifo'), 'fifo', 0o600))).toMatchObject({
      code: 'EEXIST',
      syscall: 'mknod',
      path: place.path('fifo'),
    })
  })

  it('makes whiteouts, whoever asks', () => {
    using place = new Place()
    mknod(place.path('gone'), 'char', 0o600, 0, 0)
    const { rdev } = lstatSync(place.path('gone'))
    expect([lstatSync(place.path('gone')).isCharacterDevice(), rdev]).toEqual([true, 0])
  })

  it('makes devices of every number that there is', unless(noDevices), () => {
    using place = new Place()
    for (const [major, minor] of [
      [1, 3],
      [8, 255],
      [259, 256],
      [4095, 1_048_575],
    ] as const) {
      const path = place.path(`${major}-${minor}`)
      mknod(path, 'block', 0o640, major, minor)
      const { rdev } = lstatSync(path, { bigint: true })
      expect([deviceMajor(rdev), deviceMinor(rdev)]).toEqual([major, minor])
      const said = execFileSync('stat', ['-c', '%t:%T', path]).toString().trim()
      expect(said).toBe(`${major.toString(16)}:${minor.toString(16)}`)
    }
  })
})
