/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { assert, nat, array, property } from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import type { TarHeader, TarPart } from '#layerstack/tar/part.js'
import { TarReader } from '#layerstack/tar/reader.js'
import { notInstalled, unless } from '../support/needs.js'
import { byHand, byPrograms } from './sample-tars.js'

const samples = [...byPrograms, ...byHand]
const PRIMES = [1, 7, 511, 513, 4099]
const MANY = 300_000

describe.each(samples)('TarReader ($what)', ({ reason, write }) => {
  let tar: Buffer
  let whole: Part[]

  beforeAll(async () => {
    if (reason !== undefined) return
    tar = await write()
    whole = partsOf(tar, [])
  })

  it('yields parts that join to the tar', unless(reason), () => {
    expect(Buffer.concat(whole.map(({ bytes }) => bytes)).equals(tar)).toBe(true)
  })

  it('yields the same parts for any chunk boundaries', unless(reason), () => {
    for (const size of PRIMES.filter((prime) => tar.length / prime < MANY)) {
      const cuts = Array.from({ length: Math.floor(tar.length / size) }, (_, index) => (index + 1) * size)
      expectSame(partsOf(tar, cuts), whole)
    }
    const anywhere = array(nat(tar.length), { maxLength: 20 })
    assert(
      property(anywhere, (cuts) =>
        expectSame(
          partsOf(
            tar,
            cuts.toSorted((a, b) => a - b),
          ),
          whole,
        ),
      ),
      { numRuns: 20 },
    )
  })
})

describe.each(byPrograms)('names of headers ($what)', ({ reason, write }) => {
  it('equal those that GNU tar lists', unless(reason, notInstalled('tar')), async () => {
    const tar = await write()
    const listed = execFileSync('tar', ['-tPf', '-', '--quoting-style=escape'], {
      input: tar,
      env: { ...process.env, LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    expect(headersOf(tar).map(({ name }) => escaped(name))).toEqual(
      listed.toString('latin1').trimEnd().split('\n'),
    )
  })
})

describe.each(byPrograms.filter(({ misreadByPython }) => misreadByPython !== true))(
  'headers ($what)',
  ({ reason, write }) => {
    it('equal those that Python reads', unless(reason, notInstalled('python3')), async () => {
      const tar = await write()
      const listed = execFileSync('python3', ['-c', LIST], { input: tar })
      expect(headersOf(tar).map(seen)).toEqual(JSON.parse(listed.toString()))
    })
  },
)

const LIST = `import json, math, os, sys, tarfile
def kind(m):
    for name in 'sym lnk chr blk fifo dir file'.split():
        if getattr(m, 'is' + name if name != 'file' else 'isreg')(): return name
def text(name): return os.fsencode(name).decode('latin1')
def device(m): return [m.devmajor, m.devminor] if m.ischr() or m.isblk() else None
with tarfile.open(fileobj=sys.stdin.buffer, mode='r|', encoding='utf-8', errors='surrogateescape') as tar:
    print(json.dumps([[text(m.name), kind(m), m.size, m.mode, m.uid, m.gid, math.floor(m.mtime), text(m.linkname), device(m)] for m in tar]))`

const KINDS = {
  symlink: 'sym',
  link: 'lnk',
  char: 'chr',
  block: 'blk',
  fifo: 'fifo',
  directory: 'dir',
  file: 'file',
  unknown: null,
} as const

/** A header in the form of the script: no trailing slashes, the expanded size of a sparse file, whole seconds. */
function seen({ name, type, size, sparse, mode, uid, gid, mtimeNs, linkName, device }: TarHeader): unknown[] {
  const seconds = Number((mtimeNs - (((mtimeNs % BILLION) + BILLION) % BILLION)) / BILLION)
  const number = type === 'char' || type === 'block' ? [device.major, device.minor] : null
  return [
    name.replace(/\/+$/, ''),
    KINDS[type],
    sparse?.size ?? size,
    mode,
    uid,
    gid,
    seconds,
    linkName,
    number,
  ]
}

const BILLION = 1_000_000_000n

function escaped(name: string): string {
  return name
    .replaceAll('\\', '\\\\')
    .replaceAll(/[^ -~]/g, (byte) => `\\${byte.charCodeAt(0).toString(8).padStart(3, '0')}`)
}

function headersOf(tar: Buffer): TarHeader[] {
  return partsOf(tar, []).flatMap(({ header }) => header ?? [])
}

interface Part {
  readonly type: TarPart['type']
  readonly header?: TarHeader
  readonly bytes: Buffer
}

/** Joins consecutive pieces of one content or one filler, because their boundaries depend on the chunks. */
function partsOf(tar: Buffer, cuts: readonly number[]): Part[] {
  const reader = new TarReader()
  const pieces: { type: TarPart['type']; header?: TarHeader; bytes: Buffer[] }[] = []
  const take = (parts: Iterable<TarPart>) => {
    for (const part of parts) {
      const last = pieces.at(-1)
      const bytes = Buffer.from(part.bytes)
      if (part.type === 'header') pieces.push({ type: 'header', header: part.header, bytes: [bytes] })
      else if (last?.type === part.type) last.bytes.push(bytes)
      else pieces.push({ type: part.type, bytes: [bytes] })
    }
  }
  let from = 0
  for (const to of [...cuts, tar.length]) {
    // Overwriting each chunk after use exposes a part that still refers to it.
    const chunk = Buffer.from(tar.subarray(from, to))
    take(reader.push(chunk))
    chunk.fill(0x55)
    from = to
  }
  take(reader.end())
  return pieces.map(({ bytes, ...rest }) => ({ ...rest, bytes: Buffer.concat(bytes) }))
}

function expectSame(parts: readonly Part[], whole: readonly Part[]): void {
  expect(parts.map(({ type, header }) => [type, header])).toEqual(
    whole.map(({ type, header }) => [type, header]),
  )
  const unlike = parts.findIndex(({ bytes }, index) => !bytes.equals(whole[index]?.bytes as Buffer))
  expect(unlike).toBe(-1)
}
