import { libcAvailable } from '../../sys/libc.js'
import { hasCapability } from '../../sys/capabilities.js'
import { ACCESS_ACL } from '../host/acl.js'
import type { ByteString } from '../bytes.js'
import { xattrsOf } from './compare.js'
import { HostFs } from '../host/host-fs.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'

const SECOND = 1_000_000_000n
const MICROSECOND = 1000n

/** The object that {@link objectDifferences} expects. */
export interface ObjectExpectation {
  readonly fs: SyncFs
  readonly path: ByteString
  readonly stat: SyncStat
}

/**
 * Lists how the metadata of an object differs from what is expected: type, mode, owner, device, symlink target, size,
 * modification time and xattrs. Content, names and access times are not compared. Each difference is a phrase such as
 * `mode 4755 instead of 755`.
 *
 * Some differences come from the host and are not reported as damage: a time that the file system clamps or rounds, an
 * ACL whose mask follows the mode, an xattr that the host does not show to this process, a missing xattr without a
 * value.
 */
export function objectDifferences(
  expected: ObjectExpectation,
  fs: SyncFs,
  path: ByteString,
  stat: SyncStat,
): string[] {
  const wanted = expected.stat
  if (stat.type !== wanted.type) return [instead('type', stat.type, wanted.type)]
  const { type } = wanted
  const found: string[] = []
  // The kernel gives symlinks no mode.
  if (type !== 'symlink' && stat.mode !== wanted.mode) {
    found.push(instead('mode', octal(stat.mode), octal(wanted.mode)))
  }
  if (stat.uid !== wanted.uid || stat.gid !== wanted.gid) {
    found.push(instead('owner', `${stat.uid}:${stat.gid}`, `${wanted.uid}:${wanted.gid}`))
  }
  if (type === 'char' || type === 'block') {
    const [is, shouldBe] = [stat.device, wanted.device].map(({ major, minor }) => `${major}:${minor}`)
    if (is !== shouldBe) found.push(instead('device', is as string, shouldBe as string))
  }
  if (type === 'file' && stat.size !== wanted.size) {
    found.push(instead('size', String(stat.size), String(wanted.size)))
  }
  if (type === 'symlink') {
    const [is, shouldBe] = [fs.readlink(path), expected.fs.readlink(expected.path)]
    if (is !== shouldBe) found.push(instead('target', JSON.stringify(is), JSON.stringify(shouldBe)))
  }
  if (!isTime(wanted.mtimeNs, stat)) {
    found.push(instead('mtime', seconds(stat.mtimeNs), seconds(wanted.mtimeNs)))
  }
  return [...found, ...xattrDifferences(expected, fs, path)]
}

/** Whether an inode whose time was set to `wanted` may show this time. */
export function isTime(wanted: bigint, { mtimeNs, ctimeNs }: Pick<SyncStat, 'mtimeNs' | 'ctimeNs'>): boolean {
  if (mtimeNs === wanted) return true
  if (isClamped(wanted, mtimeNs)) return true
  if (floor(wanted, SECOND) === floor(mtimeNs, SECOND)) {
    // Docker cuts the fraction from the times in a tar, but leaves it in a tree that it adopts as a layer.
    if (wanted % SECOND === 0n) return true
    // The file system keeps whole seconds: the kernel's own timestamp has no fraction either.
    if (mtimeNs % SECOND === 0n && ctimeNs % SECOND === 0n) return true
  }
  // Without native system calls, Node sets times as doubles, which hold microseconds.
  return mtimeNs % MICROSECOND === 0n && floor(wanted, MICROSECOND) === mtimeNs
}

/** Ends of the time ranges of file systems, in seconds: ext2, ext4, XFS, and those that count from 1970. */
const RANGE_ENDS = new Set([
  -(2n ** 31n),
  0n,
  2n ** 31n - 1n,
  2n ** 32n - 1n,
  15_032_385_535n,
  16_299_260_424n,
])
const EARLIEST = -(2n ** 31n) * SECOND
const LATEST = 2n ** 31n * SECOND

function isClamped(wanted: bigint, is: bigint): boolean {
  if (!RANGE_ENDS.has(floor(is, SECOND) / SECOND)) return false
  return wanted < 0n ? wanted < is && (is === 0n || wanted < EARLIEST) : wanted >= LATEST && is < wanted
}

function floor(time: bigint, unit: bigint): bigint {
  const rest = ((time % unit) + unit) % unit
  return time - rest
}

function xattrDifferences(expected: ObjectExpectation, fs: SyncFs, path: ByteString): string[] {
  const wanted = xattrsOf(expected.fs, expected.path)
  const is = xattrsOf(fs, path)
  if (wanted.size === 0 && is.size === 0) return []
  const found: string[] = []
  for (const [name, value] of wanted) {
    const actual = is.get(name)
    if (actual?.equals(value) === true) continue
    if (name === ACCESS_ACL && isSameAcl(value, expected.stat.mode, actual)) continue
    if (actual !== undefined) found.push(`xattr ${name} has a different value`)
    // Go's archive/tar treats an empty PAX record as absent, so layers that dockerd unpacked lack empty xattrs.
    else if (value.length > 0 && isShown(name, fs)) found.push(`xattr ${name} is missing`)
  }
  for (const name of is.keys()) if (!wanted.has(name)) found.push(`unexpected xattr ${name}`)
  return found
}

/** Whether the host would show an xattr of this name to this process. */
function isShown(name: ByteString, fs: SyncFs): boolean {
  if (!(fs instanceof HostFs) || (fs.spec.attributes ?? 'native') !== 'native') return true
  if (!libcAvailable().works || !fs.keepsXattrs(name)) return false
  return !name.startsWith('trusted.') || hasCapability('CAP_SYS_ADMIN')
}

/** A chmod moves the mode into an ACL. An ACL that says no more than the mode disappears. */
function isSameAcl(list: Buffer, mode: number, actual: Buffer | undefined): boolean {
  if ((list.length - 4) % 8 !== 0) return false
  const moved = Buffer.from(list)
  const tags: number[] = []
  for (let at = 4; at < moved.length; at += 8) tags.push(moved.readUInt16LE(at))
  const groupTag = tags.includes(MASK) ? MASK : GROUP
  for (const [index, tag] of tags.entries()) {
    const shift = tag === USER ? 6 : tag === groupTag ? 3 : tag === OTHER ? 0 : undefined
    if (shift !== undefined) moved.writeUInt16LE((mode >> shift) & 7, 6 + 8 * index)
  }
  const saysMore = tags.some((tag) => tag !== USER && tag !== GROUP && tag !== OTHER)
  return actual === undefined ? !saysMore : moved.equals(actual)
}

/** Tags of the ACL entries of the owner, the group, the mask and all others. */
const USER = 0x01
const GROUP = 0x04
const MASK = 0x10
const OTHER = 0x20

function instead(what: string, is: string, wanted: string): string {
  return `${what} ${is} instead of ${wanted}`
}

function octal(mode: number): string {
  return mode.toString(8)
}

function seconds(ns: bigint): string {
  const [whole, fraction] = [floor(ns, SECOND) / SECOND, ns - floor(ns, SECOND)]
  return fraction === 0n ? String(whole) : `${whole}.${fraction.toString().padStart(9, '0')}`
}
