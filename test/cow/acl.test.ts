/** @module-tag unit */
import { chmodSync, mkdirSync, mkdtempSync, openSync, closeSync, lstatSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadChecksum } from '#layerstack/cow/checksum.js'
import { CowStore } from '#layerstack/cow/store.js'
import { VolumeFs } from '#layerstack/cow/volume-fs.js'
import type { ByteString } from '#layerstack/fs/bytes.js'
import { O_CREAT, O_EXCL, O_WRONLY } from '#layerstack/fs/open-flags.js'
import { lgetxattr, lremovexattr, lsetxattr } from '#layerstack/sys/xattr.js'
import { noCalls, noRoot, unless } from '../support/needs.js'
import { MemoryDevice } from './memory-device.js'

const checksum = await loadChecksum()
const ACCESS = 'system.posix_acl_access' as ByteString
const DEFAULT = 'system.posix_acl_default' as ByteString
const NAMES = ['d', 'd/sub', 'd/file', 'd/sub/file', 'e', 'e/file'] as ByteString[]

const permission = fc.integer({ min: 0, max: 7 })
const entry = (tag: number) => fc.tuple(fc.constant(tag), permission, fc.constantFrom(0xffff_ffff, 1000))
const some = (tag: number) => fc.option(entry(tag), { nil: undefined })
/** Most are ACLs that Linux accepts. Some lack an entry, or have entries in another order. */
const acl = fc
  .tuple(some(1), some(2), entry(4), some(8), some(16), entry(32))
  .chain(([owner, ...rest]) => {
    const entries = [owner ?? ([1, 7, 0] as const), ...rest].filter((each) => each !== undefined)
    return fc.constantFrom(entries, entries, entries, entries.toReversed(), entries.slice(1), [])
  })
  .map((entries) => {
    const bytes = Buffer.alloc(4 + 8 * entries.length)
    bytes.writeUInt32LE(2)
    for (const [at, [tag, bits, id]] of entries.entries()) {
      bytes.writeUInt16LE(tag, 4 + 8 * at)
      bytes.writeUInt16LE(bits, 6 + 8 * at)
      bytes.writeUInt32LE(id, 8 + 8 * at)
    }
    return bytes
  })
/** Makes a directory with a default ACL that names a user. */
const BEGIN: readonly Step[] = [
  { do: 'mkdir', path: 'd' as ByteString, mode: 0o755 },
  {
    do: 'set',
    path: 'd' as ByteString,
    acl: Buffer.from(
      '02000000' +
        '01000700ffffffff' +
        '02000700e8030000' +
        '04000500ffffffff' +
        '10000600ffffffff' +
        '20000100ffffffff',
      'hex',
    ),
    xattr: DEFAULT,
  },
]
const name = fc.constantFrom(...NAMES)
const mode = fc.constantFrom(0o666, 0o777, 0o640, 0o755, 0o000, 0o1751)
const list = fc.constantFrom(ACCESS, DEFAULT, DEFAULT)

type Step =
  | { readonly do: 'mkdir' | 'create' | 'chmod'; readonly path: ByteString; readonly mode: number }
  | { readonly do: 'set'; readonly path: ByteString; readonly acl: Buffer; readonly xattr: ByteString }
  | { readonly do: 'remove'; readonly path: ByteString; readonly xattr: ByteString }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('mkdir', 'create', 'chmod'), path: name, mode }),
  fc.record({ do: fc.constant('set'), path: name, acl, xattr: list }),
  fc.record({ do: fc.constant('remove'), path: name, xattr: list }),
)

describe('ACLs of a volume', unless(noCalls), () => {
  let host: string
  let fs: VolumeFs

  beforeEach(() => {
    host = mkdtempSync(join(tmpdir(), 'layerstack-acl-'))
  })

  afterEach(() => rmSync(host, { recursive: true, force: true }))

  it('match what the kernel makes of them on the host file system', unless(noRoot), () => {
    let kept = 0
    fc.assert(
      fc.property(fc.array(anyStep, { minLength: 10, maxLength: 40 }), (steps) => {
        rmSync(host, { recursive: true, force: true })
        mkdirSync(host)
        chmodSync(host, 0o755)
        fs = volume()
        for (const each of [...BEGIN, ...steps]) {
          const [ours, theirs] = [attempt(() => onVolume(each)), attempt(() => onHost(each))]
          expect(ours, JSON.stringify(each)).toBe(theirs)
        }
        for (const each of NAMES) {
          const theirs = seen(
            () => lstatSync(join(host, each)).mode,
            (x) => lgetxattr(join(host, each), x),
          )
          const ours = seen(
            () => fs.lstat(each).mode,
            (x) => fs.getxattr(each, x),
          )
          expect(ours, each).toEqual(theirs)
          if (ours[1] !== undefined) kept++
        }
      }),
      { numRuns: 120 },
    )
    expect(kept).toBeGreaterThan(20)
  })

  /** Without a default ACL, the host applies the umask to new modes. A volume has none, so `onHost` sets the mode. */
  function hasDefaultAcl(path: ByteString): boolean {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    return lgetxattr(join(host, parent), DEFAULT) !== undefined
  }

  function onHost(step: Step): void {
    const at = join(host, step.path)
    if (step.do === 'set') return lsetxattr(at, step.xattr, step.acl)
    if (step.do === 'remove') return lremovexattr(at, step.xattr)
    const isMasked = step.do !== 'chmod' && !hasDefaultAcl(step.path)
    if (step.do === 'mkdir') mkdirSync(at, step.mode)
    if (step.do === 'create') closeSync(openSync(at, 'wx', step.mode))
    if (step.do === 'chmod' || isMasked) chmodSync(at, step.mode)
  }

  function onVolume(step: Step): void {
    const { path } = step
    if (step.do === 'set') return fs.setxattr(path, step.xattr, step.acl)
    if (step.do === 'remove') return fs.removexattr(path, step.xattr)
    if (step.do === 'chmod') return fs.chmod(path, step.mode)
    if (step.do === 'mkdir') return fs.mkdir(path, step.mode)
    fs.open(path, O_WRONLY | O_CREAT | O_EXCL, step.mode).close()
  }
})

describe('chown() on a volume', () => {
  const fs = volume()

  it('leaves an ID unchanged for -1 and for 0xffffffff', () => {
    fs.mkdir('owned' as ByteString, 0o755)
    fs.chown('owned' as ByteString, 7, 8)
    fs.chown('owned' as ByteString, -1, 9)
    expect(fs.lstat('owned' as ByteString)).toMatchObject({ uid: 7, gid: 9 })
    fs.chown('owned' as ByteString, 4_294_967_294, 0xffff_ffff)
    expect(fs.lstat('owned' as ByteString)).toMatchObject({ uid: 4_294_967_294, gid: 9 })
  })

  it.each([-2, 2 ** 32, 2 ** 32 + 5, 1.5, Number.NaN])('rejects the ID %d and changes nothing', (id) => {
    expect(() => fs.chown('owned' as ByteString, id, 0)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => fs.chown('owned' as ByteString, 0, id)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(fs.lstat('owned' as ByteString)).toMatchObject({ uid: 4_294_967_294, gid: 9 })
  })

  it('works on a path of 4,095 bytes', () => {
    const parts = Array.from({ length: 16 }, () => 'p'.repeat(255))
    for (let depth = 1; depth < 16; depth++) fs.mkdir(parts.slice(0, depth).join('/') as ByteString, 0o755)
    const path = parts.join('/') as ByteString
    expect(path).toHaveLength(4095)
    fs.open(path, O_WRONLY | O_CREAT, 0o600).close()
    fs.chown(path, 5, 5)
    expect(fs.lstat(path)).toMatchObject({ type: 'file', uid: 5 })
  })
})

function volume(): VolumeFs {
  const store = CowStore.open(new MemoryDevice(), { checksum })
  return new VolumeFs(store, store.create('volume'))
}

function attempt(work: () => void): string {
  try {
    work()
    return 'ok'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

function seen(modeOf: () => number, valueOf: (name: ByteString) => Buffer | undefined) {
  try {
    return [modeOf() & 0o7777, valueOf(ACCESS)?.toString('hex'), valueOf(DEFAULT)?.toString('hex')] as const
  } catch (error) {
    return [(error as NodeJS.ErrnoException).code] as const
  }
}
