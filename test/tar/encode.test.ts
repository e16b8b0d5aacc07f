import { execFileSync } from 'node:child_process'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { DeviceNumber } from '#layerstack/fs/sync-fs.js'
import { encodeHeader, paddingOf } from '#layerstack/tar/encode.js'
import type { TarHeader } from '#layerstack/tar/part.js'
import { TarReader } from '#layerstack/tar/reader.js'
import { notInstalled, unless } from '../support/needs.js'

const BILLION = 1_000_000_000n
const MAX_SECONDS = BigInt(Number.MAX_SAFE_INTEGER)

/** Bytes without NUL, one character each. Some lengths are at the limits of header fields. */
const text = (maxLength: number) =>
  fc
    .tuple(
      fc.constantFrom('ascii', 'bytes'),
      fc.oneof(fc.nat(40), fc.constantFrom(99, 100, 101, 155, 156, 255, 256, 257, 300, 5000)),
      fc.infiniteStream(fc.integer({ min: 1, max: 255 })),
    )
    .map(([kind, length, bytes]) => {
      const codes = [...bytes.take(Math.min(length, maxLength))]
      return String.fromCharCode(
        ...(kind === 'ascii' ? codes.map((code) => 0x2e + (code % 0x40)) : codes),
      ) as ByteString
    })

const number = fc.oneof(
  fc.nat(),
  fc.maxSafeNat(),
  fc.constantFrom(0, 0o7777777, 0o10000000, 2 ** 31, 2 ** 32 - 1, 8 ** 11 - 1, 8 ** 11),
)
const time = fc.oneof(
  fc.bigInt({ min: 0n, max: 8n ** 11n }).map((seconds) => seconds * BILLION),
  fc.bigInt({ min: -MAX_SECONDS * BILLION, max: MAX_SECONDS * BILLION }),
  fc.constantFrom(-1n, -BILLION, -BILLION - 1n, (1n << 31n) * BILLION, 8n ** 11n * BILLION),
)
const xattrs = fc
  .array(
    fc.tuple(
      fc.oneof(
        text(50).filter((name) => name !== ''),
        fc.stringMatching(/^user\.[=%253D]{1,8}$/).map((name) => name as ByteString),
      ),
      fc.uint8Array({ maxLength: 300 }).map((value) => Buffer.from(value)),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => new Map(pairs))

const common = {
  name: text(5000).filter((name) => name !== ''),
  mode: fc.nat(0o7777),
  uid: number,
  gid: number,
  userName: text(100),
  groupName: text(100),
  mtimeNs: time,
  atimeNs: fc.option(time, { nil: undefined }),
  xattrs,
}
const none = fc.constant('' as ByteString)
const noDevice: fc.Arbitrary<DeviceNumber> = fc.constant({ major: 0, minor: 0 })
const shapes = {
  file: { size: number, linkName: none, device: noDevice },
  link: { size: fc.constant(0), linkName: text(5000), device: noDevice },
  symlink: { size: fc.constant(0), linkName: text(5000), device: noDevice },
  directory: { size: fc.constant(0), linkName: none, device: noDevice },
  char: { size: fc.constant(0), linkName: none, device: fc.record({ major: number, minor: number }) },
  block: { size: fc.constant(0), linkName: none, device: fc.record({ major: number, minor: number }) },
  fifo: { size: fc.constant(0), linkName: none, device: noDevice },
} as const

const header: fc.Arbitrary<TarHeader> = fc
  .constantFrom(...(Object.keys(shapes) as (keyof typeof shapes)[]))
  .chain((type) => fc.record({ type: fc.constant(type), ...common, ...shapes[type] }))
  .map(({ atimeNs, ...rest }) => (atimeNs === undefined ? rest : { ...rest, atimeNs }))

describe('encodeHeader', () => {
  it('writes a header that TarReader reads back unchanged', () => {
    fc.assert(
      fc.property(header, (wanted) => {
        expect(read(encodeHeader(wanted))).toEqual(wanted)
      }),
      { numRuns: 3000 },
    )
  })

  it('writes whole blocks, with the same bytes for any order of xattrs', () => {
    fc.assert(
      fc.property(header, (wanted) => {
        const bytes = encodeHeader(wanted)
        expect(bytes.length % 512).toBe(0)
        expect(encodeHeader({ ...wanted, xattrs: new Map([...wanted.xattrs].toReversed()) })).toEqual(bytes)
      }),
    )
  })

  it('writes names and owners that Python reads back', unless(notInstalled('python3')), () => {
    const inPython = header.map((wanted) => ({ ...wanted, size: 0, device: { major: 0, minor: 0 } }))
    const samples = fc.sample(inPython, { numRuns: 500, seed: 20_260_101 })
    const input = Buffer.concat(samples.map(encodeHeader))
    const listed: unknown[] = JSON.parse(execFileSync('python3', ['-c', LIST], { input }).toString())
    const ours = samples.map((each) => [
      each.name.replace(/\/+$/, ''),
      ...[each.linkName, each.uid, each.gid, each.userName],
    ])
    expect(ours).toEqual(listed)
  })
})

it('paddingOf fills content up to whole blocks', () => {
  for (const size of [0, 1, 511, 512, 513, 2 ** 40 + 1]) expect((size + paddingOf(size).length) % 512).toBe(0)
})

const LIST = `import json, os, sys, tarfile
def text(name): return os.fsencode(name).decode('latin1')
with tarfile.open(fileobj=sys.stdin.buffer, mode='r|', encoding='utf-8', errors='surrogateescape') as tar:
    print(json.dumps([[text(m.name).rstrip('/'), text(m.linkname), m.uid, m.gid, text(m.uname)] for m in tar]))`

function read(bytes: Buffer): TarHeader | undefined {
  const reader = new TarReader()
  for (const part of reader.push(bytes)) if (part.type === 'header') return part.header
  return undefined
}
