import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostFs } from '#layerstack/fs/host-fs.js'
import { unpackHere } from '#layerstack/jobs/here.js'
import { assemble, splitHeaders } from '#layerstack/tar/assemble.js'
import { notInstalled, unless } from '../support/needs.js'

let scratch: string
let splitFile: string
const tree = () => ({ kind: 'host', root: join(scratch, 'tree'), attributes: 'override' }) as const

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-split-'))
  splitFile = join(scratch, 'tar-split.json.gz')
  mkdirSync(join(scratch, 'tree'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

const end = Buffer.alloc(1024)
const file = (name: string, content: string) => entry({ name, type: 'file' }, content)
const zoo: readonly [string, () => Promise<Buffer>][] = [
  ['is empty', async () => end],
  ['has no byte at all', async () => Buffer.alloc(0)],
  ['has no end marker', () => file('a', 'content')],
  ['has one block of an end marker', async () => Buffer.concat([await file('a', 'x'), Buffer.alloc(512)])],
  ['is followed by zeros', async () => Buffer.concat([await file('a', 'x'), Buffer.alloc(10_240)])],
  [
    'is followed by garbage',
    async () => Buffer.concat([await file('a', 'x'), end, Buffer.alloc(3000, 0xa5)]),
  ],
  [
    'names a file twice',
    async () => Buffer.concat([await file('a', 'first'), await file('a', 'second'), end]),
  ],
  [
    'names a file twice, the first one large',
    async () =>
      Buffer.concat([await file('a', 'f'.repeat(3 << 20)), await file('b', 'b'), await file('a', 's'), end]),
  ],
  [
    'replaces a directory with content by a file',
    async () =>
      Buffer.concat([await file('d/one', '1'), await file('d/two', '22'), await file('d', 'no more'), end]),
  ],
  [
    'names a file through its own symlink',
    async () =>
      Buffer.concat([
        await entry({ name: 'usr/lib/', type: 'directory' }),
        await entry({ name: 'lib', type: 'symlink', linkname: 'usr/lib' }),
        await file('lib/libc.so', 'found below usr'),
        end,
      ]),
  ],
  [
    'has whiteouts with content',
    async () => Buffer.concat([await file('.wh.gone', 'why not'), await file('dir/.wh..wh..opq', 'so'), end]),
  ],
  [
    'links to a file that is replaced after that',
    async () =>
      Buffer.concat([
        await file('a', 'linked'),
        await entry({ name: 'b', type: 'link', linkname: 'a' }),
        await file('a', 'other'),
        end,
      ]),
  ],
  [
    'has names that begin with a slash and a dot',
    async () => Buffer.concat([await file('/a', '1'), await file('./b', '2'), end]),
  ],
]

describe('a tar comes back byte for byte, cut anywhere, when it', () => {
  it.each(zoo)('%s', async (_what, make) => {
    const tar = await make()
    for (const size of [1 << 20, 512, 777]) {
      rmSync(splitFile, { force: true })
      rmSync(join(scratch, 'tree'), { recursive: true })
      mkdirSync(join(scratch, 'tree'))
      await unpack(tar, size)
      expect((await again()).equals(tar)).toBe(true)
    }
  })

  const gnu = ['gnu', 'oldgnu', 'ustar', 'pax', 'v7'].map((format) => [format, `--format=${format}`])
  it.each(gnu)('was written by GNU tar as %s', unless(notInstalled('tar')), async (format, option) => {
    const tar = written([
      'tar',
      option as string,
      '--exclude=./fifo',
      ...(['ustar', 'v7'].includes(format as string) ? [] : ['--sparse']),
      '-cf',
      '-',
      '-C',
    ])
    await unpack(tar, 65_536)
    expect((await again()).equals(tar)).toBe(true)
  })

  it.each(['0.0', '0.1', '1.0'])(
    'holds sparse files as PAX %s',
    unless(notInstalled('tar')),
    async (version) => {
      const tar = written([
        'tar',
        '--format=pax',
        '--sparse',
        `--sparse-version=${version}`,
        '-cf',
        '-',
        '-C',
      ])
      await unpack(tar, 65_536)
      expect((await again()).equals(tar)).toBe(true)
      expect(
        readFileSync(join(scratch, 'tree/sparse')).equals(readFileSync(join(scratch, 'source/sparse'))),
      ).toBe(true)
    },
  )

  it.each(['USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT'])(
    'was written by Python as %s',
    unless(notInstalled('python3')),
    async (format) => {
      const script = `import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.${format}) as tar: tar.add(sys.argv[1], '.')`
      const tar = written(['python3', '-c', script])
      await unpack(tar, 65_536)
      expect((await again()).equals(tar)).toBe(true)
    },
  )
})

describe('a tar-split file that is damaged', () => {
  beforeEach(async () => {
    await unpack(Buffer.concat([await file('a', 'content'), await file('b', 'more'), end]), 512)
  })

  it('cut short anywhere is STORE_CORRUPT', async () => {
    const whole = readFileSync(splitFile)
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(splitFile, whole.subarray(0, length))
      await expect(again(), `${length} bytes`).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
      await expect(headers(), `${length} bytes`).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    }
  })

  it('that names a file outside the layer is STORE_CORRUPT', async () => {
    writeFileSync(join(scratch, 'outside'), 'content')
    rewrite((text) => text.replace('"name":"a"', '"name":"../outside"'))
    await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('that is no JSON, or of an unknown type, is STORE_CORRUPT', async () => {
    rewrite((text) => text.replace('"type":1', '"type":7'))
    await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
    rewrite(() => 'no JSON\n')
    await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
  })

  it('or a file whose content changed, is longer gone, or shorter, is STORE_CORRUPT', async () => {
    for (const content of ['changed', 'cont', undefined]) {
      rmSync(join(scratch, 'tree/a'))
      if (content !== undefined) writeFileSync(join(scratch, 'tree/a'), content)
      await expect(again()).rejects.toMatchObject({ code: 'STORE_CORRUPT' })
      if (content === undefined) writeFileSync(join(scratch, 'tree/a'), '')
    }
  })

  function rewrite(change: (text: string) => string): void {
    writeFileSync(splitFile, gzipSync(change(gunzipSync(readFileSync(splitFile)).toString('utf8'))))
  }
})

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
  for await (const _part of splitHeaders(splitFile));
}

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** What a program writes of a tree with the odd things in it; the tree's path is its last argument. */
function written([program, ...args]: readonly string[]): Buffer {
  const source = join(scratch, 'source')
  mkdirSync(join(source, 'dir'), { recursive: true })
  writeFileSync(join(source, 'dir/file'), 'content\n')
  execFileSync('ln', [join(source, 'dir/file'), join(source, 'hard')])
  execFileSync('ln', ['-s', 'x'.repeat(90), join(source, 'symlink')])
  execFileSync('mkfifo', [join(source, 'fifo')])
  execFileSync('sh', [
    '-c',
    'truncate -s 5M "$1"; printf end >> "$1"; printf mid | dd of="$1" bs=1 seek=2000000 conv=notrunc status=none',
    'sh',
    join(source, 'sparse'),
  ])
  const isDirectoryNext = program === 'tar'
  return execFileSync(program as string, [...args, source, ...(isDirectoryNext ? ['.'] : [])], {
    maxBuffer: 1 << 26,
  })
}

async function entry(header: Parameters<ReturnType<typeof pack>['entry']>[0], content = ''): Promise<Buffer> {
  const tar = pack()
  tar.entry({ mtime: new Date(1_600_000_000_000), ...header }, content)
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).subarray(0, -1024)
}
