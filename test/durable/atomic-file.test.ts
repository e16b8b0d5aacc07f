import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { writeFileAtomic } from '#layerstack/durable/atomic-file.js'
import { makeDirectory } from '#layerstack/durable/make-directory.js'
import { heard, kill, Place } from './children.js'

describe('an atomic file', () => {
  it('is made with its directories, and its mode whatever the umask', async () => {
    await using place = new Place()
    const umask = process.umask(0o077)
    await writeFileAtomic(place.path('a/b/file'), 'one', { mode: 0o644 })
    process.umask(umask)
    expect(readFileSync(place.path('a/b/file'), 'utf8')).toBe('one')
    expect(statSync(place.path('a/b/file')).mode & 0o777).toBe(0o644)
    await writeFileAtomic(place.path('a/b/file'), Buffer.from([0, 255]))
    expect(readFileSync(place.path('a/b/file'))).toEqual(Buffer.from([0, 255]))
    expect(statSync(place.path('a/b/file')).mode & 0o777).toBe(0o600)
    expect(readdirSync(place.path('a/b'))).toEqual(['file'])
  })

  it('that cannot take its place leaves what was there, and nothing else', async () => {
    await using place = new Place()
    mkdirSync(place.path('file/full'), { recursive: true })
    await expect(writeFileAtomic(place.path('file'), 'x')).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    expect(readdirSync(place.root)).toEqual(['file'])
  })

  it('is whole at every moment, whenever its writer is killed', async () => {
    await using place = new Place()
    for (let round = 0; round < 10; round++) {
      const writer = place.start('writer.mjs', [place.path('file')])
      await heard(writer)
      await sleep(Math.random() * 20)
      await kill(writer)
      const content = readFileSync(place.path('file'), 'utf8')
      expect(content).toHaveLength(100_000)
      expect(new Set(content).size).toBe(1)
    }
  })
})

describe('a directory', () => {
  it('is made with those above it, and may be there', async () => {
    await using place = new Place()
    await makeDirectory(place.path('a/b/c'), { mode: 0o700 })
    await makeDirectory(place.path('a/b/c'))
    expect(statSync(place.path('a/b/c')).mode & 0o777).toBe(0o700)
    await writeFileAtomic(place.path('file'), '')
    await expect(makeDirectory(place.path('file'))).rejects.toMatchObject({ code: 'EEXIST' })
  })
})
