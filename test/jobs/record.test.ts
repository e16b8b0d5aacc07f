/** @module-tag thorough */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { treesDiffer } from '#layerstack/conformance/tree.js'
import { SLOT } from '#layerstack/jobs/record/chunk-ring.js'
import { commitLayer, type CommitJob } from '#layerstack/jobs/work/commit.js'
import { unpackHere } from '#layerstack/jobs/run/here.js'
import { CallerPace } from '#layerstack/jobs/work/pace.js'
import { runJob } from '#layerstack/jobs/run/run-job.js'
import type { UnpackJob } from '#layerstack/jobs/work/unpack.js'
import { manyFiles, tarOf, type Entry } from './tars.js'
import { targetAt, treeAt } from './trees.js'

const MIB = 1 << 20
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'layerstack-record-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('record of a large layer in a second thread', () => {
  it('equals the record of a single thread', async () => {
    expect(await recordOf('there', await tarOf(oddities()))).toEqual(
      await recordOf('here', await tarOf(oddities())),
    )
  })

  it('does not depend on the chunk boundaries of a stream', async () => {
    const tar = await tarOf(oddities())
    expect(await recordOf('there', tar, { chunks: cut(tar) })).toEqual(await recordOf('here', tar))
  })

  it('fails the unpack job if it cannot be written', async () => {
    const path = tarFile(await tarOf(oddities()))
    const splitFile = join(directory, 'not/there')
    const job = runJob({ kind: 'unpack', source: { path }, target: target('files'), splitFile })
    await expect(job).rejects.toMatchObject({
      name: 'StoreError',
      errno: 'ENOENT',
      path: expect.stringContaining('not/there'),
    })
  })

  it('ends with a truncated tar and leaves the next layer intact', async () => {
    const tar = await tarOf(oddities())
    const broken = tarFile(tar.subarray(0, 5 * MIB))
    const splitFile = join(directory, 'split')
    const job = runJob({ kind: 'unpack', source: { path: broken }, target: target('broken'), splitFile })
    await expect(job).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' })
    expect((await recordOf('there', tar)).result.tarSize).toBe(tar.length)
  })
})

describe('record of a commit of many files in a second thread', () => {
  let source: CommitJob['source']
  beforeEach(async () => {
    const large = [1, SLOT - 1536, 3 * SLOT].map((size) => ({
      name: `at${size}`,
      content: Buffer.alloc(size, 'x'),
    }))
    const path = tarFile(await tarOf([...manyFiles(1500, 700), ...large]))
    const upper = target('upper')
    await runJob({ kind: 'unpack', source: { path }, target: upper })
    source = { form: 'overlay', upper: upper.files, lowers: [] }
  })

  it('equals the record of a single thread', async () => {
    const [there, here] = [join(directory, 'split-there'), join(directory, 'split-here')]
    const job = { source, target: target('copy'), splitFile: there }
    const result = await runJob({ kind: 'commit', ...job })
    expect(result).toEqual(await commitLayer({ source, splitFile: here }, new CallerPace()))
    expect(linesOf(there)).toEqual(linesOf(here))
    expect(treesDiffer(treeAt(join(directory, 'copy')), treeAt(join(directory, 'upper')))).toBeUndefined()
  })

  it('fails the commit job if it cannot be written', async () => {
    const job = runJob({ kind: 'commit', source, splitFile: join(directory, 'not/there') })
    await expect(job).rejects.toMatchObject({ name: 'StoreError', errno: 'ENOENT' })
  })
})

/** Repeated names, so that a later entry displaces stored content: small files and one of several chunks. */
function* oddities(): Generator<Entry> {
  yield* manyFiles(3000, 700)
  yield { name: 'large', content: Buffer.alloc(3 * MIB, 'large ') }
  yield { name: 'd1/f150', content: 'again\n' }
  yield { name: 'empty', content: '' }
  yield { name: 'empty', content: 'not any more\n' }
  yield { name: 'large', content: Buffer.alloc(2 * MIB, 'smaller ') }
  yield { name: 'link', type: 'symlink', linkname: 'd2' }
  yield { name: 'link/through', content: 'kept in the tar-split\n' }
  yield { name: 'd3', type: 'file', content: 'a directory no more\n' }
  yield { name: 'd1/f150', content: 'and again\n' }
}

async function recordOf(where: 'here' | 'there', tar: Buffer, source?: UnpackJob['source']) {
  const splitFile = join(directory, `split-${where}`)
  const job = { source: source ?? { path: tarFile(tar) }, target: target(where), splitFile }
  const result = where === 'here' ? await unpackHere(job) : await runJob({ kind: 'unpack', ...job })
  return { result, split: gunzipSync(readFileSync(splitFile)).toString() }
}

function target(name: string): UnpackJob['target'] {
  return targetAt(join(directory, name))
}

async function* cut(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0, length = 1; at < bytes.length; at += length, length = (length * 7919) % 1_500_000) {
    yield bytes.subarray(at, at + length)
  }
}

let tars = 0
function tarFile(tar: Buffer): string {
  const path = join(directory, `tar-${tars++}`)
  writeFileSync(path, tar)
  return path
}

function linesOf(splitFile: string): string[] {
  return gunzipSync(readFileSync(splitFile)).toString().split('\n')
}
