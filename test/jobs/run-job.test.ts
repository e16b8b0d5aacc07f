import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compress } from '#layerstack/compression/compress.js'
import type { DiffID } from '#layerstack/digest.js'
import { StoreError } from '#layerstack/errors.js'
import { commitLayer } from '#layerstack/jobs/work/commit.js'
import { unpackHere } from '#layerstack/jobs/run/here.js'
import { CallerPace } from '#layerstack/jobs/work/pace.js'
import { runJob } from '#layerstack/jobs/run/run-job.js'
import type { UnpackJob } from '#layerstack/jobs/work/unpack.js'
import { loopTurns } from '../support/loop-turns.js'
import { manyFiles, tarOf } from './tars.js'

const attributes = process.getuid?.() === 0 ? 'native' : 'override'
let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'layerstack-jobs-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('unpack job in a worker thread', () => {
  it('returns the DiffID and sizes, and writes the files and the tar-split', async () => {
    const tar = await tarOf([
      { name: 'etc', type: 'directory', mode: 0o755 },
      { name: 'etc/motd', content: 'hello\n' },
      { name: 'etc/issue', content: 'hi\n' },
    ])
    const job = unpackJob({ path: fileOf(tar) }, { splitFile: join(directory, 'tar-split.json.gz') })
    expect(await runJob(job)).toEqual({ diffId: diffIdOf(tar), size: 9, tarSize: tar.length })
    expect(readFileSync(join(directory, 'files/etc/motd'), 'utf8')).toBe('hello\n')
    expect(statSync(join(directory, 'tar-split.json.gz')).size).toBeGreaterThan(0)
  })

  it.each(['gzip', 'zstd'] as const)('unpacks a %s range of a larger file', async (kind) => {
    const tar = await tarOf(manyFiles(500))
    const blob = await compressed(kind, tar)
    const path = fileOf(Buffer.concat([randomBytes(777), blob, randomBytes(99)]))
    const source = { path, offset: 777, length: blob.length }
    const expectedBlob = diffIdOf(blob)
    const result = await runJob(unpackJob(source, { expected: diffIdOf(tar), expectedBlob }))
    expect(result).toEqual({ diffId: diffIdOf(tar), size: 50_000, tarSize: tar.length })
    expect(readdirSync(join(directory, 'files/d3'))).toHaveLength(100)
  })

  it('unpacks a stream of the calling thread', async () => {
    const tar = await tarOf(manyFiles(100, 200_000))
    async function* chunks(): AsyncGenerator<Buffer> {
      for (let at = 0; at < tar.length; at += 3_000_000) yield tar.subarray(at, at + 3_000_000)
    }
    expect((await runJob(unpackJob({ chunks: chunks() }))).diffId).toBe(diffIdOf(tar))
  })

  it('refuses a wrong digest', async () => {
    const tar = await tarOf([{ name: 'a', content: 'a' }])
    const wrong = diffIdOf(Buffer.from('something else'))
    await expect(runJob(unpackJob({ path: fileOf(tar) }, { expected: wrong }))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
    await expect(runJob(unpackJob({ path: fileOf(tar) }, { expectedBlob: wrong }))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    })
  })

  it('rejects with errors that keep their properties', async () => {
    const xz = fileOf(Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), Buffer.alloc(600)]))
    const unsupported = await failure(runJob(unpackJob({ path: xz })))
    expect(unsupported).toBeInstanceOf(StoreError)
    expect(unsupported).toMatchObject({ code: 'ARCHIVE_UNSUPPORTED', hint: expect.stringContaining('xz') })

    const tar = fileOf(await tarOf([{ name: 'a', content: 'a' }]))
    const gone = await failure(runJob({ kind: 'unpack', source: { path: tar }, target: target('not/there') }))
    expect(gone).toMatchObject({
      name: 'StoreError',
      errno: 'ENOENT',
      path: expect.stringContaining('not/there'),
    })
    expect(gone.cause).toMatchObject({
      code: 'ENOENT',
      syscall: expect.any(String),
      errno: expect.any(Number),
    })
  })

  it('refuses a range beyond the end of its file', async () => {
    const tar = await tarOf([{ name: 'a', content: 'a' }])
    const source = { path: fileOf(tar), offset: 0, length: tar.length + 1 }
    await expect(runJob(unpackJob(source))).rejects.toMatchObject({ code: 'ARCHIVE_TRUNCATED' })
  })

  it('rejects with the error of its stream', async () => {
    const broken = new Error('the line is down')
    async function* chunks(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(512)
      throw broken
    }
    const error = await failure(runJob(unpackJob({ chunks: chunks() })))
    expect(error.cause ?? error).toBe(broken)
  })

  it('closes a stream that it does not read to the end', async () => {
    let closed = false
    async function* chunks(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield Buffer.alloc(4096, 'no tar at all ')
      } finally {
        closed = true
      }
    }
    await expect(runJob(unpackJob({ chunks: chunks() }))).rejects.toMatchObject({
      code: expect.stringMatching(/^(LAYER_INVALID|ARCHIVE_CORRUPT)$/),
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(closed).toBe(true)
  })

  it('does not block the event loop of the caller, and reports its progress', async () => {
    const tar = await tarOf(manyFiles(6_000, 2000))
    const path = fileOf(tar)
    const reports: number[] = []
    const turns = await loopTurns(runJob(unpackJob({ path }), { onProgress: (done) => reports.push(done) }))
    expect(turns).toBeGreaterThan(20)
    expect(reports.length).toBeGreaterThan(1)
    expect(reports).toEqual(reports.toSorted((a, b) => a - b))
    expect(reports.at(-1)).toBeLessThanOrEqual(tar.length)
  })
})

describe('abort of a job', () => {
  it('stops the work early and rejects with the reason', async () => {
    const path = fileOf(await tarOf(manyFiles(12_000)))
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    const job = runJob(unpackJob({ path }), {
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    })
    expect(await failure(job)).toBe(reason)
    const written = countFiles(join(directory, 'files'))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(countFiles(join(directory, 'files'))).toBe(written)
    expect(written).toBeLessThan(12_000)
  })

  it('ends a job that waits for a stream', async () => {
    const signal = AbortSignal.timeout(100)
    await expect(runJob(unpackJob({ chunks: stalled() }), { signal })).rejects.toMatchObject({
      name: 'TimeoutError',
    })
  })

  it('ends jobs that wait for a worker, and prevents the start of others', async () => {
    const path = fileOf(await tarOf(manyFiles(5_000)))
    const controller = new AbortController()
    const jobs = Array.from({ length: 12 }, (_, index) =>
      runJob(
        { kind: 'unpack', source: { path }, target: target(`files${index}`) },
        { signal: controller.signal },
      ),
    )
    controller.abort()
    for (const result of await Promise.allSettled(jobs)) expect(result.status).toBe('rejected')
    await expect(runJob(unpackJob({ path }), { signal: controller.signal })).rejects.toBe(
      controller.signal.reason,
    )
    expect((await runJob(unpackJob({ path }))).size).toBe(500_000)
  })

  it('rejects with the error if the progress listener throws', async () => {
    const path = fileOf(await tarOf(manyFiles(12_000)))
    const wrong = new TypeError('in the listener')
    const onProgress = (): void => {
      throw wrong
    }
    expect(await failure(runJob(unpackJob({ path }), { onProgress }))).toBe(wrong)
  })
})

describe('commit job', () => {
  it('copies the tree that it commits, and the copy has the same DiffID', async () => {
    const tar = await tarOf(manyFiles(300))
    await runJob(unpackJob({ path: fileOf(tar) }))
    const source = { form: 'compare', upper: target('files').files } as const
    const first = await runJob({
      kind: 'commit',
      source,
      target: target('copy'),
      splitFile: join(directory, 'split'),
    })
    const second = await runJob({ kind: 'commit', source: { form: 'compare', upper: target('copy').files } })
    expect(first.diffId).toBe(second.diffId)
    expect(first).toMatchObject({ size: 30_000 })
    expect(readFileSync(join(directory, 'copy/d2/f250'), 'utf8')).toBe(
      readFileSync(join(directory, 'files/d2/f250'), 'utf8'),
    )
  })
})

describe('jobs on the thread of the caller', () => {
  it('yield to the event loop and return the results of a worker', async () => {
    const tar = await tarOf(manyFiles(4_000))
    const path = fileOf(tar)
    const unpacking = unpackHere({ source: { path }, target: target('files') })
    expect(await loopTurns(unpacking)).toBeGreaterThan(5)
    const result = await unpacking
    const source = { form: 'compare', upper: target('files').files } as const
    const committing = commitLayer({ source }, new CallerPace())
    expect(await loopTurns(committing)).toBeGreaterThan(5)
    const committed = await committing
    expect(result).toEqual(await runJob({ kind: 'unpack', source: { path }, target: target('again') }))
    expect(committed.size).toBe(result.size)
  })

  it('reject when they are aborted', async () => {
    const path = fileOf(await tarOf(manyFiles(4_000)))
    const signal = AbortSignal.timeout(20)
    await expect(unpackHere({ source: { path }, target: target('files') }, { signal })).rejects.toMatchObject(
      {
        name: 'TimeoutError',
      },
    )
  })
})

describe('copyTree and removeTree', () => {
  it('copy and remove names that are not UTF-8', async () => {
    await runJob(unpackJob({ path: fileOf(await tarOf(manyFiles(200))) }))
    const odd = Buffer.concat([Buffer.from(join(directory, 'files/d0/')), Buffer.from([0xff, 0xfe])])
    writeFileSync(odd, 'odd')
    mkdirSync(join(directory, 'copy'))
    const { size } = await runJob({ kind: 'copyTree', from: target('files').files, to: target('copy').files })
    expect(size).toBe(20_003)
    expect(readdirSync(join(directory, 'copy/d0'), { encoding: 'buffer' }).map(String)).toHaveLength(101)
    await runJob({ kind: 'removeTree', path: join(directory, 'copy') })
    expect(existsSync(join(directory, 'copy'))).toBe(false)
    await runJob({ kind: 'removeTree', path: join(directory, 'copy') })
  })
})

describe('worker threads', () => {
  it('do not keep the process alive', () => {
    const script = `
      import { runJob } from '#layerstack/jobs/run/run-job.js'
      await runJob({ kind: 'sync', paths: [${JSON.stringify(directory)}] })
      console.log('done')`
    const options = { encoding: 'utf8', timeout: 25_000 } as const
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', script], options)).toBe('done\n')
  })
})

function unpackJob(source: UnpackJob['source'], rest: Partial<UnpackJob> = {}): UnpackJob {
  return { kind: 'unpack', source, target: target('files'), ...rest }
}

function target(name: string): UnpackJob['target'] {
  const root = join(directory, name)
  if (!name.includes('/')) mkdirSync(root, { recursive: true })
  return { form: 'merged', files: { kind: 'host', root, attributes }, lowers: [] }
}

let files = 0
function fileOf(content: Buffer): string {
  const path = join(directory, `input${files++}`)
  writeFileSync(path, content)
  return path
}

function diffIdOf(bytes: Buffer): DiffID {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as DiffID
}

async function compressed(kind: 'gzip' | 'zstd', bytes: Buffer): Promise<Buffer> {
  async function* source(): AsyncGenerator<Buffer> {
    yield bytes
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of compress(kind, source())) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('the promise did not reject')
}

async function* stalled(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(512)
  await new Promise(() => undefined)
}

function countFiles(path: string): number {
  return readdirSync(path, { recursive: true }).length
}
