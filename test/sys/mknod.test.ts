/** @module-tag every-identity */
import { execFileSync } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { deviceMajor, deviceMinor, mknod } from '#layerstack/sys/mknod.js'
import { noCalls, noDevices, unless } from '../support/needs.js'
import { Scratch, thrownBy } from './scratch.js'

describe('mknod', unless(noCalls), () => {
  it('creates FIFOs and sockets', () => {
    using scratch = new Scratch()
    mknod(scratch.path('fifo'), 'fifo', 0o600)
    mknod(scratch.path('socket'), 'socket', 0o600)
    expect(lstatSync(scratch.path('fifo')).isFIFO()).toBe(true)
    expect(lstatSync(scratch.path('socket')).isSocket()).toBe(true)
    expect(thrownBy(() => mknod(scratch.path('fifo'), 'fifo', 0o600))).toMatchObject({
      code: 'EEXIST',
      syscall: 'mknod',
      path: scratch.path('fifo'),
    })
  })

  it('creates whiteouts, even for an ordinary user', () => {
    using scratch = new Scratch()
    mknod(scratch.path('gone'), 'char', 0o600, 0, 0)
    const { rdev } = lstatSync(scratch.path('gone'))
    expect([lstatSync(scratch.path('gone')).isCharacterDevice(), rdev]).toEqual([true, 0])
  })

  it('creates devices with small and with the largest numbers', unless(noDevices), () => {
    using scratch = new Scratch()
    for (const [major, minor] of [
      [1, 3],
      [8, 255],
      [259, 256],
      [4095, 1_048_575],
    ] as const) {
      const path = scratch.path(`${major}-${minor}`)
      mknod(path, 'block', 0o640, major, minor)
      const { rdev } = lstatSync(path, { bigint: true })
      expect([deviceMajor(rdev), deviceMinor(rdev)]).toEqual([major, minor])
      const shown = execFileSync('stat', ['-c', '%t:%T', path]).toString().trim()
      expect(shown).toBe(`${major.toString(16)}:${minor.toString(16)}`)
    }
  })
})
