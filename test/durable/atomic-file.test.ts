/** @module-tag every-identity */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { writeFileAtomic } from '#layerstack/durable/atomic-file.js'
import { makeDirectory } from '#layerstack/durable/make-directory.js'
import { heard, kill, Scratch } from './children.js'

describe('writeFileAtomic()', () => {
  it('creates missing directories and sets the mode regardless of the umask', async () => {
    await using scratch = new Scratch()
    const umask = process.umask(0o077)
    await writeFileAtomic(scratch.path('a/b/file'), 'one', { mode: 0o644 })
    process.umask(umask)
    expect(readFileSync(scratch.path('a/b/file'), 'utf8')).toBe('one')
    expect(statSync(scratch.path('a/b/file')).mode & 0o777).toBe(0o644)
    await writeFileAtomic(scratch.path('a/b/file'), Buffer.from([0, 255]))
    expect(readFileSync(scratch.path('a/b/file'))).toEqual(Buffer.from([0, 255]))
    expect(statSync(scratch.path('a/b/file')).mode & 0o777).toBe(0o600)
    expect(readdirSync(scratch.path('a/b'))).toEqual(['file'])
  })

  it('leaves the old entry and no temporary file if it cannot replace a directory', async () => {
    await using scratch = new Scratch()
    mkdirSync(scratch.path('file/full'), { recursive: true })
    await expect(writeFileAtomic(scratch.path('file'), 'x')).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    expect(readdirSync(scratch.root)).toEqual(['file'])
  })

  it('leaves a whole file when its process is killed', async () => {
    await using scratch = new Scratch()
    for (let round = 0; round < 10; round++) {
      const writer = scratch.start('writer.mjs', [scratch.path('file')])
      await heard(writer)
      await sleep(Math.random() * 20)
      await kill(writer)
      const content = readFileSync(scratch.path('file'), 'utf8')
      expect(content).toHaveLength(100_000)
      expect(new Set(content).size).toBe(1)
    }
  })
})

describe('makeDirectory()', () => {
  it('creates parents, accepts an existing directory and refuses a file', async () => {
    await using scratch = new Scratch()
    await makeDirectory(scratch.path('a/b/c'), { mode: 0o700 })
    await makeDirectory(scratch.path('a/b/c'))
    expect(statSync(scratch.path('a/b/c')).mode & 0o777).toBe(0o700)
    await writeFileAtomic(scratch.path('file'), '')
    await expect(makeDirectory(scratch.path('file'))).rejects.toMatchObject({ code: 'EEXIST' })
  })
})
