import { constants } from 'node:fs'
import { joinBytes, type ByteString } from '#layerstack/fs/bytes.js'
import type { RawFs } from '#layerstack/fs/raw-fs.js'
import { bytes } from './union-layers.js'

export type Step = { readonly text: string; readonly run: (fs: RawFs) => string | undefined | void }

/** The same numbers for the same seed, from 0 to 1 (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const NAMES = ['a', 'b', 'c', 'd', '\xff\x01']
const { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC, O_WRONLY } = constants

/** One call, on paths out of few, so that steps meet one another. */
export function randomStep(random: () => number): Step {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T
  const path = (): ByteString => {
    let made = bytes('')
    do made = joinBytes(made, bytes(pick(NAMES)))
    while (random() < 0.55)
    return made
  }
  const at = path()
  const to = path()
  const number = Math.floor(random() * 6000)
  const mode = pick([0o600, 0o644, 0o755, 0o1777, 0o2755, 0o4711])
  const flags = pick([O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC, O_TRUNC, O_APPEND, 0])
  const content = 'x'.repeat(number % 50) + String(number)
  const attribute = bytes(pick(['user.one', 'user.two', 'trusted.three']))
  const step = (text: string, run: Step['run']): Step => ({ text, run })
  const kinds: readonly (readonly [weight: number, make: () => Step])[] = [
    [
      14,
      () => step(`write ${at} ${flags} ${number}`, (fs) => write(fs, at, flags | O_WRONLY, mode, content)),
    ],
    [10, () => step(`mkdir ${at}`, (fs) => fs.mkdir(at, mode))],
    [10, () => step(`unlink ${at}`, (fs) => fs.unlink(at))],
    [8, () => step(`rmdir ${at}`, (fs) => fs.rmdir(at))],
    [5, () => step(`remove ${at}`, (fs) => remove(fs, at))],
    [14, () => step(`rename ${at} ${to}`, (fs) => fs.rename(at, to))],
    [5, () => step(`link ${at} ${to}`, (fs) => fs.link(at, to))],
    [4, () => step(`symlink ${at}`, (fs) => fs.symlink(bytes(`nowhere/${number}`), at))],
    [2, () => step(`fifo ${at}`, (fs) => fs.mknod(at, 'fifo', mode))],
    [2, () => step(`device ${at}`, (fs) => fs.mknod(at, 'char', mode, { major: 1, minor: number }))],
    [5, () => step(`chmod ${at}`, (fs) => fs.chmod(at, mode))],
    [4, () => step(`chown ${at}`, (fs) => fs.chown(at, number, number + 1))],
    [4, () => step(`utimes ${at}`, (fs) => fs.utimes(at, BigInt(number), BigInt(number) * 1_000_000_007n))],
    [4, () => step(`truncate ${at} ${number}`, (fs) => truncate(fs, at, number))],
    [4, () => step(`setxattr ${at}`, (fs) => fs.setxattr(at, attribute, Buffer.from(content)))],
    [3, () => step(`removexattr ${at}`, (fs) => fs.removexattr(at, attribute))],
    [4, () => step(`read ${at}`, (fs) => read(fs, at))],
    [3, () => step(`readdir ${at}`, (fs) => list(fs, at))],
  ]
  let left = random() * kinds.reduce((sum, [weight]) => sum + weight, 0)
  for (const [weight, make] of kinds) if ((left -= weight) < 0) return make()
  throw new Error('the weights do not add up')
}

function write(fs: RawFs, path: ByteString, flags: number, mode: number, content: string): void {
  refuseSpecial(fs, path)
  const file = fs.open(path, flags, mode)
  try {
    file.write(Buffer.from(content), 0)
  } finally {
    file.close()
  }
}

function read(fs: RawFs, path: ByteString): string {
  refuseSpecial(fs, path)
  const file = fs.open(path, O_RDONLY)
  try {
    const buffer = Buffer.alloc(10_000)
    return buffer.toString('latin1', 0, file.read(buffer, 0))
  } finally {
    file.close()
  }
}

function truncate(fs: RawFs, path: ByteString, size: number): void {
  refuseSpecial(fs, path)
  fs.truncate(path, size)
}

function list(fs: RawFs, path: ByteString): string {
  const entries = fs.readdir(path)
  return entries
    .map(({ name, type }) => `${name} ${type}`)
    .toSorted()
    .join()
}

function remove(fs: RawFs, path: ByteString): void {
  if (fs.lstat(path).type !== 'directory') return fs.unlink(path)
  for (const { name } of fs.readdir(path).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    remove(fs, joinBytes(path, name))
  }
  fs.rmdir(path)
}

/** Only regular files are opened: others would block, or be the machine's devices. */
function refuseSpecial(fs: RawFs, path: ByteString): void {
  let type
  try {
    type = fs.lstat(path).type
  } catch {
    return
  }
  if (type !== 'file' && type !== 'directory') throw Object.assign(new Error('special'), { code: 'SPECIAL' })
}
