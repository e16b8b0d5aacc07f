import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { copyFileRange, ficlone } from '#layerstack/sys/clone.js'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { noCalls, noMounts, notInstalled, unless } from '../support/needs.js'
import { Place } from './place.js'

describe('copying inside the kernel', unless(noCalls), () => {
  it('copies ranges, and says where a file ends', () => {
    using place = new Place()
    const from = openSync(place.file('from', 'hello, world'), 'r')
    const to = openSync(place.file('to', 'HELLO, '), 'r+')
    expect(copyFileRange(from, to, 7, 100)).toBe(5)
    expect(copyFileRange(from, to, 12, 100)).toBe(0)
    expect(readFileSync(place.path('to'), 'utf8')).toBe('HELLO, world')
    for (const fd of [from, to]) closeSync(fd)
  })

  it('says that it cannot, rather than failing, when it is not for these files', () => {
    using place = new Place()
    const to = openSync(place.file('to'), 'r+')
    const null_ = openSync('/dev/null', 'r')
    expect(copyFileRange(null_, to, 0, 10)).toBeUndefined()
    expect(ficlone(null_, to)).toBe(false)
    for (const fd of [null_, to]) closeSync(fd)
  })

  it('shares blocks on XFS', unless(noMounts, notInstalled('mkfs.xfs')), () => {
    using place = new Place()
    const fs = place.fileSystem(['mkfs.xfs', '-q', '-m', 'reflink=1'], 320)
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
