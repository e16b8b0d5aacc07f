/** @module-tag thorough */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { treesDiffer } from '#layerstack/conformance/tree.js'
import { unpackHere } from '#layerstack/jobs/run/here.js'
import { runJob } from '#layerstack/jobs/run/run-job.js'
import type { UnpackJob } from '#layerstack/jobs/work/unpack.js'
import { noMounts, unless } from '../support/needs.js'
import { openFiles } from '../support/open-files.js'
import { run } from '../support/program.js'
import { manyFiles, tarOf, type Entry } from './tars.js'
import { targetAt, treeAt } from './trees.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'layerstack-taken-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('files of a large layer that two threads write', () => {
  it('equal the files that a single thread writes', async () => {
    const path = await tarFile([...oddities(), ...manyFiles(3000, 1000), ...again])
    const [there, here] = [join(directory, 'split-there'), join(directory, 'split-here')]
    await runJob({ kind: 'unpack', source: { path }, target: target('there'), splitFile: there })
    await unpackHere({ source: { path }, target: target('here'), splitFile: here })
    expect(treesDiffer(treeAt(join(directory, 'there')), treeAt(join(directory, 'here')))).toBeUndefined()
    // The tar-split contains the content of files that a later entry replaced.
    expect(gunzipSync(readFileSync(there)).equals(gunzipSync(readFileSync(here)))).toBe(true)
  })

  it('are all closed if the record cannot be written', async () => {
    const path = await tarFile(manyFiles(8000, 1000))
    const splitFile = join(directory, 'not/there')
    const job = runJob({ kind: 'unpack', source: { path }, target: target('files'), splitFile })
    await expect(job).rejects.toMatchObject({ errno: 'ENOENT' })
    expect(openBelow(directory)).toEqual([])
  })

  it('are all closed after an abort', async () => {
    const path = await tarFile(manyFiles(8000, 1000))
    for (const after of [0, 1, 4]) {
      const ended = new AbortController()
      let reports = 0
      const onProgress = () => void (reports++ === after && ended.abort(new Error('enough')))
      const job = runJob(
        { kind: 'unpack', source: { chunks: slowly(path) }, target: target(`files${after}`) },
        { signal: ended.signal, onProgress },
      )
      await expect(job).rejects.toThrow('enough')
      expect(openBelow(directory)).toEqual([])
    }
  })

  it('are all closed on a disk that is full early or late in the layer', unless(noMounts), async () => {
    const path = await tarFile(manyFiles(8000, 3000))
    for (const size of ['1m', '3m', '5m', '8m', '9m', '11m', '13m', '15m']) {
      const full = join(directory, `full-${size}`)
      mkdirSync(full)
      await run('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'layerstack-test', full])
      try {
        const job = runJob({ kind: 'unpack', source: { path }, target: target(`full-${size}/files`) })
        await expect(job).rejects.toMatchObject({ code: 'NO_SPACE' })
        expect(openBelow(full)).toEqual([])
      } finally {
        await run('umount', [full])
      }
    }
  })
})

/** Names repeated long after the first entry. `oddities` repeats names while the first file is still being written. */
const again: readonly Entry[] = [
  { name: 'd0/f0', content: 'long after' },
  { name: 'd1', content: 'a directory no more' },
]

/** The second thread writes these: they are not in the first chunk, which is copied, and the backlog is short. */
function* oddities(): Generator<Entry> {
  yield { name: 'first', content: Buffer.alloc(1 << 20, 'first ') }
  const owned = process.getuid?.() === 0 ? { uid: 12, gid: 34 } : {}
  yield { name: 'set-id', mode: 0o6755, ...owned, content: 'set-id' }
  yield { name: 'old', pax: { mtime: '-5000.25' }, content: 'before 1970' }
  yield { name: 'fraction', pax: { mtime: '1600000000.123456789' }, content: 'nanoseconds' }
  yield { name: 'far', pax: { mtime: '32503680000.000000001' }, content: 'more than 64 bits of nanoseconds' }
  yield { name: 'read-only', mode: 0o400, content: 'read-only' }
  yield { name: 'tagged', pax: { 'SCHILY.xattr.user.tag': 'value' }, content: 'with an xattr' }
  yield { name: 'linked', content: 'by two names' }
  yield { name: 'other', type: 'link', linkname: 'linked' }
  yield { name: 'twice', content: 'once' }
  yield { name: 'twice', content: 'again' }
  yield* manyFiles(200, 1000)
  yield { name: 'd0/f7', content: 'soon after' }
}

function target(name: string): UnpackJob['target'] {
  return targetAt(join(directory, name))
}

let tars = 0
async function tarFile(entries: Iterable<Entry>): Promise<string> {
  const path = join(directory, `tar-${tars++}`)
  writeFileSync(path, await tarOf(entries))
  return path
}

/** Slow enough for several progress reports. */
async function* slowly(path: string): AsyncGenerator<Buffer> {
  const tar = readFileSync(path)
  for (let at = 0; at < tar.length; at += 1 << 18, await sleep(10)) yield tar.subarray(at, at + (1 << 18))
}

/** Files that this process has open below a directory. */
function openBelow(path: string): string[] {
  return openFiles().filter((file) => file.startsWith(`${path}/`))
}
