/** @module-tag unit */
import { mkdirSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { ImageID } from '#layerstack/digest.js'
import { parseReference, withDefaultTag } from '#layerstack/references/reference.js'
import { ReferenceStore } from '#layerstack/references/reference-store.js'
import { removeTree } from '../support/mounts.js'
import { run } from '../support/program.js'

const ID = `sha256:${'1'.repeat(64)}` as ImageID
const SHA512 = `sha512:${'2'.repeat(128)}`

const scratch = mkdtempSync(join(tmpdir(), 'layerstack-references-'))
let directory: string
let store: ReferenceStore
const file = () => join(directory, 'repositories.json')
const reference = (text: string) => withDefaultTag(parseReference(text))

beforeEach(() => {
  directory = mkdtempSync(join(scratch, 'image-'))
  store = new ReferenceStore(directory)
})

afterAll(() => removeTree(scratch))

describe('names of properties of every object', () => {
  it.each(['constructor', 'constructor:toString', 'valueof:__proto__', 'x:hasOwnProperty'])(
    'are stored, found and deleted: %s',
    async (text) => {
      const before = Object.getOwnPropertyNames(Object)
      expect(await store.get(reference(text))).toBeUndefined()
      await store.set([{ reference: reference(text), id: ID }])
      expect(await store.get(reference(text))).toBe(ID)
      expect([...(await store.all()).values()].flat()).toHaveLength(1)
      expect(Object.getOwnPropertyNames(Object)).toEqual(before)
      await store.delete([text])
      expect(await store.get(reference(text))).toBeUndefined()
    },
  )
})

describe('entries of Docker that this library does not understand', () => {
  const odd = {
    'foo_bar.com/x': { 'foo_bar.com/x:latest': ID },
    debian: { [`debian@${SHA512}`]: ID, 'debian:12': SHA512 },
    ['__proto__']: { '__proto__:1': 5 },
  }
  const text = JSON.stringify({ Repositories: { ok: { 'ok:1': ID }, ...odd }, Other: 1 })

  it('do not hide other entries', async () => {
    writeFileSync(file(), text)
    expect(await store.get(reference('ok:1'))).toBe(ID)
    expect(await store.get(reference('debian:12'))).toBeUndefined()
    expect((await store.all()).get(ID)).toEqual([`debian@${SHA512}`, 'foo_bar.com/x:latest', 'ok:1'])
  })

  it('are written back unchanged', async () => {
    writeFileSync(file(), text)
    await store.delete(['ok:1'])
    const kept = JSON.stringify({ Other: 1, Repositories: odd })
    expect(readFileSync(file(), 'utf8')).toBe(kept)
  })

  it('are removed by their text', async () => {
    writeFileSync(file(), text)
    await store.delete(['foo_bar.com/x:latest', `debian@${SHA512}`])
    expect((await store.all()).get(ID)).toEqual(['ok:1'])
  })
})

describe('an invalid repositories.json', () => {
  const corrupt = { code: 'STORE_CORRUPT', path: expect.stringContaining('repositories.json') }

  it.each(['{', 'null', '[]', '1', '"x"', '{"Repositories":[]}', '{"Repositories":{"a":"b"}}'])(
    'is STORE_CORRUPT if it holds %s',
    async (text) => {
      writeFileSync(file(), text)
      await expect(store.all()).rejects.toMatchObject(corrupt)
    },
  )

  it('is STORE_CORRUPT if it is a directory', async () => {
    mkdirSync(file())
    await expect(store.all()).rejects.toMatchObject(corrupt)
  })

  it('is STORE_CORRUPT if it is a FIFO, without waiting for a writer', async () => {
    await run('mkfifo', [file()])
    await expect(store.all()).rejects.toMatchObject(corrupt)
  })

  it('is STORE_CORRUPT if it has a size of 1 GiB', async () => {
    writeFileSync(file(), '')
    truncateSync(file(), 1 << 30)
    await expect(store.all()).rejects.toMatchObject(corrupt)
  })
})
