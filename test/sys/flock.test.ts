/** @module-tag every-identity */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { tryFlock } from '#layerstack/sys/flock.js'
import { noCalls, notInstalled, unless } from '../support/needs.js'
import { Scratch, runScript, thrownBy } from './scratch.js'

describe('flock', unless(noCalls), () => {
  it('conflicts between two descriptors of one file in one process', () => {
    using scratch = new Scratch()
    const [a, b] = [openSync(scratch.file('lock'), 'r'), openSync(scratch.path('lock'), 'r')]
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

  it('conflicts with flock(1) and is not inherited by a child process', unless(notInstalled('flock')), () => {
    using scratch = new Scratch()
    const fd = openSync(scratch.file('lock'), 'r')
    expect(tryFlock(fd, 'exclusive')).toBe(true)
    const program = () => spawnSync('flock', ['-n', scratch.path('lock'), 'true']).status
    expect(program()).toBe(1)
    const child = runScript('setTimeout(() => {}, 60_000)', scratch.root)
    closeSync(fd)
    expect(program()).toBe(0)
    child.kill()
  })
})
