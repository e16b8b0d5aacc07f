/** @module-tag every-identity */
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { dataRanges } from '#layerstack/sys/seek.js'
import { noCalls, unless } from '../support/needs.js'
import { Scratch } from './scratch.js'

describe('dataRanges()', unless(noCalls), () => {
  it('returns the written parts of a sparse file', () => {
    using scratch = new Scratch()
    const fd = openSync(scratch.file('sparse'), 'r+')
    const [size, at] = [8 << 20, 4 << 20]
    ftruncateSync(fd, size)
    expect([...dataRanges(fd, size)]).toEqual([])
    writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, at)
    const ranges = [...dataRanges(fd, size)]
    expect(ranges).toHaveLength(1)
    const [start, end] = ranges[0] ?? [0, 0]
    expect(start <= at && end >= at + 4096 && end - start < size).toBe(true)
    const holes = Buffer.alloc(at)
    expect(readSync(fd, holes, 0, start, 0)).toBe(start)
    expect(holes.every((byte) => byte === 0)).toBe(true)
    closeSync(fd)
  })

  it('covers a file without holes', () => {
    using scratch = new Scratch()
    const fd = openSync(scratch.file('whole', Buffer.alloc(100_000, 1)), 'r')
    expect([...dataRanges(fd, 100_000)]).toEqual([[0, 100_000]])
    closeSync(fd)
  })
})
