/** @module-tag thorough */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostFs } from '#layerstack/fs/host/host-fs.js'
import { unpackHere } from '#layerstack/jobs/run/here.js'
import { assemble, splitHeaders } from '#layerstack/tar/assemble.js'
import { unless } from '../support/needs.js'
import { END, file } from '#layerstack/conformance/odd-layers/raw-tar.js'
import { byHand, byPrograms } from './sample-tars.js'

let scratch: string
let splitFile: string
const tree = () => ({ kind: 'host', root: join(scratch, 'tree'), attributes: 'override' }) as const

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-split-'))
  splitFile = join(scratch, 'tar-split.json.gz')
  mkdirSync(join(scratch, 'tree'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

describe.each([...byPrograms, ...byHand])('a tar-split file ($what)', ({ reason, write }) => {
  it('reproduces the tar byte for byte for any chunk size', unless(reason), async () => {
    const tar = await write()
    for (const size of [1 << 20, 777]) {
      rmSync(splitFile, { force: true })
      rmSync(join(scratch, 'tree'), { recursive: true })
      mkdirSync(join(scratch, 'tree'))
      await unpack(tar, size)
      expect((await again()).equals(tar)).toBe(true)
    }
  })
})

describe('a damaged tar-split file', () => {
  beforeEach(async () => {
    await unpack(Buffer.concat([file('a', 'content'), file('b', 'more'), END]), 512)
  })

  it('is STORE_CORRUPT if it is truncated', async () => {
    const whole = readFileSync(splitFile)
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(splitFile, whole.subarray(0, length))
      await expect(again(), `${length} bytes`).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
      await expect(headers(), `${length} bytes`).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    }
  })

  it('is STORE_CORRUPT if it names a file outside the layer', async () => {
    writeFileSync(join(scratch, 'outside'), 'content')
    rewrite((text) => text.replace('"name":"a"', '"name":"../outside"'))
    await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('is STORE_CORRUPT if an entry is not JSON or has an unknown type', async () => {
    rewrite((text) => text.replace('"type":1', '"type":7'))
    await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    rewrite(() => 'no JSON\n')
    await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('is STORE_CORRUPT if a file of the layer is missing, shorter or has other content', async () => {
    for (const content of ['changed', 'cont', undefined]) {
      rmSync(join(scratch, 'tree/a'))
      if (content !== undefined) writeFileSync(join(scratch, 'tree/a'), content)
      await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
      if (content === undefined) writeFileSync(join(scratch, 'tree/a'), '')
    }
  })
})

describe('a tar-split file of another program', () => {
  const writings: Readonly<Record<string, (text: string) => string>> = {
    'with spaces': (text) => eachLine(text, (line) => line.replaceAll(/([:,])"/g, '$1 "')),
    'with reordered keys': (text) =>
      eachLine(text, (line) => {
        const { type, ...others } = JSON.parse(line) as Record<string, unknown>
        return JSON.stringify({ ...others, type })
      }),
    'with every character escaped': (text) =>
      eachLine(text, (line) =>
        line.replaceAll(/(?<=":")[^"]+/g, (value) =>
          [...value].map((one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
        ),
      ),
    'with empty lines and no final newline': (text) => text.trimEnd().replaceAll('\n', '\n\n'),
  }

  it.each(Object.entries(writings))('gives the same tar: %s', async (_, write) => {
    const long = file('long', Buffer.alloc(3 << 18, 'x').toString())
    const tar = Buffer.concat([
      file('a', 'content'),
      file('\u00e4', 'more'),
      long,
      Buffer.alloc(1 << 20),
      END,
    ])
    await unpack(tar, 1 << 16)
    const before = readFileSync(splitFile)
    rewrite(write)
    expect(gunzipSync(readFileSync(splitFile)).equals(gunzipSync(before))).toBe(false)
    expect((await again()).equals(tar)).toBe(true)
  })
})

function rewrite(change: (text: string) => string): void {
  writeFileSync(splitFile, gzipSync(change(gunzipSync(readFileSync(splitFile)).toString('utf8'))))
}

function eachLine(text: string, change: (line: string) => string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '' : change(line)))
    .join('\n')
}

async function unpack(tar: Buffer, size: number): Promise<void> {
  const target = { files: tree(), form: 'merged', lowers: [] } as const
  await unpackHere({ source: { chunks: cut(tar, size) }, target, splitFile })
}

async function again(): Promise<Buffer> {
  const fs = new HostFs({ ...tree(), readOnly: true })
  const chunks: Uint8Array[] = []
  try {
    for await (const chunk of assemble(splitFile, fs)) chunks.push(chunk)
  } finally {
    fs.close()
  }
  return Buffer.concat(chunks)
}

async function headers(): Promise<void> {
  for await (const _headers of splitHeaders(splitFile));
}

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
