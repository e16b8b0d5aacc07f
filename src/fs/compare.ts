import { constants } from 'node:fs'
import { isErrno } from '../errors.js'
import { compareBytes, joinBytes, type ByteString } from './bytes.js'
import { isOverlayXattr } from './overlay-marks.js'
import type { RawFile, RawFs, RawStat } from './raw-fs.js'

const CHUNK = 1 << 18
/** So many objects are looked at in a fraction of a millisecond. */
const STRIDE = 16
/** What XFS keeps access lists in, which it shows as `system.posix_acl_*`, too. */
const XFS_ACL = 'trusted.SGI_ACL_'
const SECOND = 1_000_000_000n
const NO_XATTRS: ReadonlyMap<ByteString, Buffer> = new Map()

export interface TreeChange {
  readonly kind: 'add' | 'modify' | 'delete'
  readonly path: ByteString
  /** As it is in the upper tree; absent for what was deleted. */
  readonly stat?: RawStat
}

/**
 * What is found, in order. An `undefined` in between is a place to pause: one comes every few objects, and with every
 * piece of two contents, however much is the same.
 */
export type Comparison = Generator<TreeChange | undefined, void, void>

/**
 * What turns `lower` into `upper`; without a `lower`, everything. Sorted by path, component by component, in byte order.
 *
 * A directory is on the list if it is new, if its attributes changed, or if anything in it did. What was deleted stands
 * without what was in it. An object counts as unchanged if it is the same inode, or if type, mode, owner, device, xattrs
 * and, but for directories, size and time of the last change are the same. Where two times differ only in that one has
 * no fraction of a second, they cannot tell, and the contents are compared; so they are in trees of one lineage where
 * the times are equal, but for what is the same there without a look at it. A file that has more names than in the lower
 * tree is on the list, so that its new names can be links to it. The root itself is not compared: no layer can hold it.
 */
export function* compareTrees(upper: RawFs, lower: RawFs | undefined): Comparison {
  yield* compareDirectories(upper, lower, '' as ByteString)
}

function* compareDirectories(upper: RawFs, lower: RawFs | undefined, directory: ByteString): Comparison {
  const here = namesOf(upper, directory)
  const there = lower === undefined ? new Set<ByteString>() : namesOf(lower, directory)
  const names = [...new Set([...here, ...there])].toSorted(compareBytes)
  for (const [index, name] of names.entries()) {
    if (index % STRIDE === 0) yield
    const path = joinBytes(directory, name)
    if (!here.has(name)) yield { kind: 'delete', path }
    else if (lower === undefined || !there.has(name)) yield* added(upper, path, 'add')
    else yield* compareObjects(upper, lower, path)
  }
}

/** All of a path that the lower tree has not, or not as this. */
export function* added(fs: RawFs, path: ByteString, kind: 'add' | 'modify'): Comparison {
  const stat = fs.lstat(path)
  yield { kind, path, stat }
  if (stat.type === 'directory') yield* compareDirectories(fs, undefined, path)
}

/** As {@link compareTrees}, of a path that both trees have. */
export function* compareObjects(upper: RawFs, lower: RawFs, path: ByteString): Comparison {
  const [stat, below] = [upper.lstat(path), lower.lstat(path)]
  if (stat.type !== 'directory') {
    const differ =
      objectsDiffer(upper, lower, path, stat, below) ?? (yield* contentsDiffer(upper, lower, path))
    if (differ) yield { kind: 'modify', path, stat }
    return
  }
  if (below.type !== 'directory') {
    yield* added(upper, path, 'modify')
    return
  }
  const differs = attributesDiffer(upper, lower, path, stat, below)
  yield* withContents({ kind: 'modify', path, stat }, differs, compareDirectories(upper, lower, path))
}

/** A directory that both trees have: it is told of before the first change in it, and where it `differs` itself. */
export function* withContents(directory: TreeChange, differs: boolean, contents: Comparison): Comparison {
  let told = differs
  if (told) yield directory
  for (const found of contents) {
    if (found !== undefined && !told) {
      told = true
      yield directory
    }
    yield found
  }
}

/** `undefined` where only the contents tell. */
function objectsDiffer(
  upper: RawFs,
  lower: RawFs,
  path: ByteString,
  stat: RawStat,
  below: RawStat,
): boolean | undefined {
  if (stat.dev === below.dev && stat.ino === below.ino) return false
  const related = upper.lineage !== undefined && upper.lineage === lower.lineage
  if (related && stat.ino === below.ino && stat.ctimeNs === below.ctimeNs) return false
  if (stat.type !== below.type || stat.size !== below.size || stat.nlink > below.nlink) return true
  if (attributesDiffer(upper, lower, path, stat, below)) return true
  if (stat.type === 'symlink' && upper.readlink(path) !== lower.readlink(path)) return true
  if (stat.mtimeNs === below.mtimeNs) {
    return related && stat.type === 'file' ? undefined : false
  }
  const coarse = stat.mtimeNs % SECOND === 0n || below.mtimeNs % SECOND === 0n
  if (!coarse || stat.mtimeNs / SECOND !== below.mtimeNs / SECOND) return true
  return stat.type === 'file' ? undefined : false
}

export function attributesDiffer(
  upper: RawFs,
  lower: RawFs,
  path: ByteString,
  stat: RawStat,
  below: RawStat,
): boolean {
  return (
    stat.mode !== below.mode ||
    stat.uid !== below.uid ||
    stat.gid !== below.gid ||
    stat.device.major !== below.device.major ||
    stat.device.minor !== below.device.minor ||
    xattrsDiffer(xattrsOf(upper, path), xattrsOf(lower, path))
  )
}

function xattrsDiffer(a: ReadonlyMap<ByteString, Buffer>, b: ReadonlyMap<ByteString, Buffer>): boolean {
  if (a.size !== b.size) return true
  for (const [name, value] of a) if (b.get(name)?.equals(value) !== true) return true
  return false
}

/**
 * What belongs to the object and not to the place where it is kept.
 * @param file the object, where it is open: then it need not be looked for
 */
export function xattrsOf(fs: RawFs, path: ByteString, file?: RawFile): ReadonlyMap<ByteString, Buffer> {
  const names = file?.listxattr?.() ?? fs.listxattr(path)
  if (names.length === 0) return NO_XATTRS
  const xattrs = new Map<ByteString, Buffer>()
  for (const name of names.toSorted(compareBytes)) {
    if (isOverlayXattr(name) || name === 'security.selinux' || name.startsWith(XFS_ACL)) continue
    const value = file?.getxattr === undefined ? fs.getxattr(path, name) : file.getxattr(name)
    if (value !== undefined) xattrs.set(name, value)
  }
  return xattrs
}

function* contentsDiffer(upper: RawFs, lower: RawFs, path: ByteString): Generator<undefined, boolean, void> {
  const [a, b] = [upper.open(path, constants.O_RDONLY), lower.open(path, constants.O_RDONLY)]
  try {
    const [ours, theirs] = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)]
    for (let position = 0; ;) {
      const [count, other] = [a.read(ours, position), b.read(theirs, position)]
      if (count !== other || !ours.subarray(0, count).equals(theirs.subarray(0, count))) return true
      if (count === 0) return false
      yield
      position += count
    }
  } finally {
    a.close()
    b.close()
  }
}

function namesOf(fs: RawFs, directory: ByteString): Set<ByteString> {
  try {
    return new Set(fs.readdir(directory).map(({ name }) => name))
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return new Set()
    throw error
  }
}
