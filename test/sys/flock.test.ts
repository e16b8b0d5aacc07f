import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { tryFlock } from '#layerstack/sys/flock.js'
import { noCalls, notInstalled, unless } from '../support/needs.js'
import { Place, runScript, thrownBy } from './place.js'

describe('flock', unless(noCalls), () => {
  it('parts two openings of one file, in one process', () => {
    using place = new Place()
    const [a, b] = [openSync(place.file('lock'), 'r'), openSync(place.path('lock'), 'r')]
    expect([tryFlock(a, 'exclusive'), tryFlock(b, 'exclusive'), tryFlock(b, 'shared')]).toEqual([
      true,
      false,
      false,
    ])
    expect([tryFlock(a, 'shared'), tryFlock(b, 'shared'), tryFlock(b, 'exclusive')]).toEqual([
      true,
      true,
      false,
    ])
    closeSync(a)
    expect(tryFlock(b, 'exclusive')).toBe(true)
    closeSync(b)
    expect(thrownBy(() => tryFlock(b, 'exclusive'))).toMatchObject({ code: 'EBADF', syscall: 'flock' })
  })

  it('is the one of flock(1), and no child inherits it', unless(notInstalled('flock')), () => {
    using place = new Place()
    const fd = openSync(place.file('lock'), 'r')
    expect(tryFlock(fd, 'exclusive')).toBe(true)
    const program = () => spawnSync('flock', ['-n', place.path('lock'), 'true']).status
    expect(program()).toBe(1)
    const child = runScript('setTimeout(() => {}, 60_000)', place.root)
    closeSync(fd)
    expect(program()).toBe(0)
    child.kill()
  })
})
