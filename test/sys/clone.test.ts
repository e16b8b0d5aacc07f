/** @module-tag every-identity */
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { copyFileRange, ficlone } from '#layerstack/sys/clone.js'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { Scratch } from './scratch.js'

describe('copyFileRange() and ficlone()', unless(noCalls), () => {
  it('copy a range, and return 0 at the end of the file', () => {
    using scratch = new Scratch()
    const from = openSync(scratch.file('from', 'hello, world'), 'r')
    const to = openSync(scratch.file('to', 'HELLO, '), 'r+')
    expect(copyFileRange(from, to, 7, 100)).toBe(5)
    expect(copyFileRange(from, to, 12, 100)).toBe(0)
    expect(readFileSync(scratch.path('to'), 'utf8')).toBe('HELLO, world')
    for (const fd of [from, to]) closeSync(fd)
  })

  it('report unsupported files without an error', () => {
    using scratch = new Scratch()
    const to = openSync(scratch.file('to'), 'r+')
    const null_ = openSync('/dev/null', 'r')
    expect(copyFileRange(null_, to, 0, 10)).toBeUndefined()
    expect(ficlone(null_, to)).toBe(false)
    for (const fd of [null_, to]) closeSync(fd)
  })

  it('share blocks on XFS', unless(noMounts, notInstalled('mkfs.xfs')), () => {
    using scratch = new Scratch()
    const fs = scratch.fileSystem(['mkfs.xfs', '-q', '-m', 'reflink=1'], 320)
    writeFileSync(`${fs}/a`, Buffer.alloc(64 << 20, 1), { flush: true })
    const free = fileSystemOf(fs).free
    const [from, to] = [openSync(`${fs}/a`, 'r'), openSync(`${fs}/b`, 'w')]
    expect(ficlone(from, to)).toBe(true)
    for (const fd of [from, to]) closeSync(fd)
    expect(readFileSync(`${fs}/b`).equals(Buffer.alloc(64 << 20, 1))).toBe(true)
    expect(free - fileSystemOf(fs).free).toBeLessThan(8n << 20n)
    expect(fileSystemOf(fs).name).toBe('xfs')
  })
})
