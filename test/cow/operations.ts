import { constants } from 'node:fs'
import * as fc from 'fast-check'
import type { ByteString } from '#layerstack/fs/bytes.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'

/** One call on a filesystem, as data. */
export type Operation = readonly [name: string, ...details: readonly (string | number)[]]

const NAMES = ['a', 'b', 'sub', 'ü', `${'n'.repeat(255)}`, '\xff\xfe']
const component = fc.constantFrom(...NAMES)
const path = fc.array(component, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))
const offset = fc.constantFrom(0, 1, 4095, 4096, 5000, 70_000, 300_000)
const size = fc.constantFrom(0, 1, 100, 4095, 4096, 4097, 20_000, 290_000)
const seed = fc.integer({ min: 1, max: 255 })

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('create'), path, size, seed) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('write'), path, offset, size, seed) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('append'), path, size, seed) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('truncate'), path, offset) },
  { weight: 4, arbitrary: fc.tuple(fc.constant('mkdir'), path) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('rmdir'), path) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('unlink'), path) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('rename'), path, path) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('link'), path, path) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('symlink'), path, size) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('mknod'), path, seed) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('chmod'), path, seed) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('chown'), path, seed, seed) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('utimes'), path, seed) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('setxattr'), path, component, size, seed) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('removexattr'), path, component) },
)

/** Performs the call. Returns `ok` or the code of the error. */
export function run(fs: SyncFs, [name, ...details]: Operation): string {
  try {
    perform(fs, name, details[0] as ByteString, details.slice(1))
    return 'ok'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

/** Reduces the sizes and offsets of an operation, to keep tests short. */
export function small([name, ...details]: Operation): Operation {
  return [name, ...details.map((each) => (typeof each === 'number' ? each % 9000 : each))]
}

function perform(fs: SyncFs, name: string, at: ByteString, rest: readonly (string | number)[]): void {
  const number = (index: number): number => rest[index] as number
  const text = (index: number): ByteString => rest[index] as ByteString
  const { O_CREAT, O_EXCL, O_WRONLY, O_APPEND } = constants
  switch (name) {
    case 'create':
      return write(fs, at, O_WRONLY | O_CREAT | O_EXCL, 0, bytes(number(0), number(1)))
    case 'write':
      return write(fs, at, O_WRONLY, number(0), bytes(number(1), number(2)))
    case 'append':
      return write(fs, at, O_WRONLY | O_APPEND, 0, bytes(number(0), number(1)))
    case 'truncate':
      return fs.truncate(at, number(0))
    case 'mkdir':
      return fs.mkdir(at, 0o755)
    case 'rmdir':
      return fs.rmdir(at)
    case 'unlink':
      return fs.unlink(at)
    case 'rename':
      return fs.rename(at, text(0))
    case 'link':
      return fs.link(at, text(0))
    case 'symlink':
      return fs.symlink('t'.repeat(Math.min(4000, number(0))) as ByteString, at)
    case 'mknod':
      return fs.mknod(at, 'char', 0o600, { major: number(0), minor: 300_000 })
    case 'chmod':
      // No set-id bits: a MemoryFs does not clear them when the kernel would.
      return fs.chmod(at, 0o1000 | (number(0) & 0o777))
    case 'chown':
      return fs.chown(at, number(0) * 16_000_000, number(1))
    case 'utimes':
      return fs.utimes(at, undefined, BigInt(number(0) - 128) * 123_456_789_012_345_678n)
    case 'setxattr':
      return fs.setxattr(
        at,
        `trusted.${text(0).slice(0, 9)}` as ByteString,
        bytes(Math.min(number(1), 65_536), number(2)),
      )
    case 'removexattr':
      return fs.removexattr(at, `trusted.${text(0).slice(0, 9)}` as ByteString)
    default:
      throw new TypeError(name)
  }
}

function write(fs: SyncFs, at: ByteString, flags: number, start: number, content: Buffer): void {
  const file = fs.open(at, flags, 0o644)
  try {
    for (let done = 0; done < content.length;) done += file.write(content.subarray(done), start + done)
  } finally {
    file.close()
  }
}

function bytes(length: number, first: number): Buffer {
  const content = Buffer.alloc(length, first)
  for (let at = 0; at < length; at += 1000) content.writeUInt8((at / 1000 + first) & 0xff, at)
  return content
}
