import { randomBytes } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'
import { compress } from '#layerstack/compression/compress.js'
import { detectCompression, type Compression } from '#layerstack/compression/compression.js'
import { decompress } from '#layerstack/compression/decompress.js'
import { describe, expect, it } from 'vitest'
import { notInstalled, unless, type Reason } from '../support/needs.js'
import { findProgram } from '../support/program.js'

const zstdProgram = findProgram('zstd') ?? ''

const text = Buffer.from('the same words again and again. '.repeat(100_000))
const noise = randomBytes(3_000_000)
const content = Buffer.concat([text, noise, text])

describe.each<Compression>(['none', 'gzip', 'zstd'])('compression %s', (kind) => {
  it('restores compressed content, and detects its kind', async () => {
    const packed = await collect(compress(kind, inPieces(content, 50_001)))
    let detected: Compression | undefined
    const unpacked = await collect(
      decompress(inPieces(packed, 70_003), { onDetected: (found) => (detected = found) }),
    )
    expect(detected).toBe(kind)
    expect(unpacked.equals(content)).toBe(true)
  })

  it('restores empty content', async () => {
    expect(await collect(decompress(compress(kind, inPieces(Buffer.alloc(0), 1))))).toHaveLength(0)
  })

  it('gives the same output for the same bytes', async () => {
    const [one, other] = [
      await collect(compress(kind, inPieces(content, 1 << 16))),
      await collect(compress(kind, inPieces(content, 1 << 16))),
    ]
    expect(one.equals(other)).toBe(true)
  })

  it('passes an error of the source through, and closes the source if reading stops early', async () => {
    const packed = await collect(compress(kind, inPieces(content, 1 << 16)))
    const broken = new Error('the source failed')
    await expect(collect(decompress(failing(packed.subarray(0, 100_000), broken)))).rejects.toBe(broken)
    let closed = false
    for await (const chunk of decompress(closing(packed, () => (closed = true)))) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(closed).toBe(true)
  })
})

const packers: [name: string, reason: Reason, pack: (bytes: Buffer) => Buffer][] = [
  ['gzip', undefined, (bytes) => gzipSync(bytes)],
  [
    'zstd',
    notInstalled('zstd'),
    (bytes) => execFileSync(zstdProgram, ['-qc'], { input: bytes, maxBuffer: 1 << 30 }),
  ],
]
for (const [name, reason, pack] of packers) {
  describe(`${name} streams of another program`, unless(reason), () => {
    it('may be concatenated, in chunks of any size', async () => {
      const packed = Buffer.concat([pack(text), pack(Buffer.alloc(0)), pack(noise)])
      const unpacked = await collect(decompress(inPieces(packed, 1013)))
      expect(unpacked.equals(Buffer.concat([text, noise]))).toBe(true)
    })

    it('are refused if other data follows them', async () => {
      const packed = Buffer.concat([pack(text), Buffer.from('and a line of text')])
      await expect(collect(decompress(inPieces(packed, 1 << 20)))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
      await expect(collect(decompress(inPieces(packed, packed.length - 18)))).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
      })
    })

    it('are refused if they are truncated', async () => {
      const packed = pack(content)
      for (const length of [packed.length - 1, packed.length >> 1, 700]) {
        await expect(
          collect(decompress(inPieces(packed.subarray(0, length), 1 << 16))),
        ).rejects.toMatchObject({
          code: 'ARCHIVE_TRUNCATED',
        })
      }
    })

    it('are refused if they are damaged', async () => {
      const packed = Buffer.from(pack(text))
      packed.fill(0xa5, 40, 90)
      await expect(collect(decompress(inPieces(packed, 1 << 16)))).rejects.toMatchObject({
        code: expect.stringMatching(/^ARCHIVE_(CORRUPT|TRUNCATED)$/),
      })
    })
  })
}

describe('zstd', unless(notInstalled('zstd')), () => {
  const zstd = (args: string[], input: Buffer) =>
    execFileSync(zstdProgram, ['-q', '-c', ...args], { input, maxBuffer: 1 << 30 })

  it('skips skippable frames at the start, between frames and at the end', async () => {
    const skippable = Buffer.concat([Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0]), Buffer.from('hello')])
    const packed = Buffer.concat([skippable, zstd([], text), skippable, zstd([], noise), skippable])
    const unpacked = await collect(decompress(inPieces(packed, 4099)))
    expect(unpacked.equals(Buffer.concat([text, noise]))).toBe(true)
  })

  it.each([['-1'], ['-19'], ['--no-check'], ['--long=27']])(
    'reads the output of `zstd %s`',
    async (option) => {
      const unpacked = await collect(decompress(inPieces(zstd([option], content), 1 << 16)))
      expect(unpacked.equals(content)).toBe(true)
    },
  )

  it('writes what the zstd program reads', async () => {
    const packed = await collect(compress('zstd', inPieces(content, 1 << 16)))
    expect(execFileSync(zstdProgram, ['-dc'], { input: packed, maxBuffer: 1 << 30 }).equals(content)).toBe(
      true,
    )
  })

  it('refuses a window of gigabytes', async () => {
    const packed = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, ...Buffer.alloc(600)])
    await expect(collect(decompress(inPieces(packed, 1000)))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      hint: expect.stringContaining('limits.zstdWindow'),
    })
  })
})

describe('detectCompression', () => {
  it('rejects an unsupported compression by name', () => {
    expect(() => detectCompression(Buffer.from('BZh91AY'))).toThrow(
      expect.objectContaining({ code: 'ARCHIVE_UNSUPPORTED', hint: expect.stringContaining('bzip2') }),
    )
    expect(() => detectCompression(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]))).toThrow(/xz/)
  })

  it('recognizes a tar whose first name starts like bzip2', () => {
    const header = Buffer.alloc(512)
    header.write('BZh.txt')
    header.write('ustar', 257)
    expect(detectCompression(header)).toBe('none')
  })
})

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const collected: Uint8Array[] = []
  for await (const chunk of chunks) collected.push(chunk)
  return Buffer.concat(collected)
}

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function* failing(bytes: Uint8Array, error: Error): AsyncGenerator<Uint8Array> {
  yield bytes
  throw error
}

async function* closing(bytes: Uint8Array, onClose: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* inPieces(bytes, 1 << 16)
  } finally {
    onClose()
  }
}
