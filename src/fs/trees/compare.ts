import { constants } from 'node:fs'
import { isErrno } from '../../errors.js'
import { compareBytes, joinBytes, type ByteString } from '../bytes.js'
import type { Evidence } from './evidence.js'
import { LinkGroups, namesOfTree } from './link-groups.js'
import { isOverlayXattr } from '../overlay-marks.js'
import type { Comparison, SyncFile, SyncFs, SyncStat, TreeChange } from '../sync-fs.js'

const CHUNK = 1 << 18
/** Objects between two yields: a fraction of a millisecond. */
const STRIDE = 16
/** XFS stores ACLs in these xattrs, and also shows them as `system.posix_acl_*`. */
const XFS_ACL = 'trusted.SGI_ACL_'
const SECOND = 1_000_000_000n
const NO_XATTRS: ReadonlyMap<ByteString, Buffer> = new Map()

/**
 * Yields what turns `lower` into `upper`; without a `lower`, everything. Sorted by path, component by component, in
 * byte order.
 *
 * A directory is listed if it is new, if its attributes changed, or if anything in it changed. A deleted directory is
 * listed without its contents. Any other object is unchanged if all of these hold:
 *
 * - Type, mode, owner, device, xattrs, size, symlink target and modification time are equal. If one of the two times
 *   lacks a fraction of a second, whole seconds are compared.
 * - The content is equal. It is read unless `evidence` proves that the file was not written.
 * - It has the same names. Making or breaking a hard link changes the names that it concerns.
 *
 * The root itself is not compared, because no layer can hold it.
 */
export function* compareTrees(upper: SyncFs, lower: SyncFs | undefined, evidence?: Evidence): Comparison {
  const root = '' as ByteString
  if (lower === undefined) yield* addedBelow(upper, root)
  else yield* new TreeComparison(upper, lower).within(root, evidence)
}

/** Compares objects that both trees have, as {@link compareTrees} does. */
export class TreeComparison {
  readonly #upper: SyncFs
  readonly #lower: SyncFs
  readonly #links: LinkGroups

  /** @param links the hard links of the compared objects. @default those of both whole trees */
  constructor(upper: SyncFs, lower: SyncFs, links = new LinkGroups(upper, lower, namesOfTree)) {
    this.#upper = upper
    this.#lower = lower
    this.#links = links
  }

  *within(directory: ByteString, evidence: Evidence | undefined): Comparison {
    const [here, there] = [namesOf(this.#upper, directory), namesOf(this.#lower, directory)]
    const names = [...new Set([...here, ...there])].toSorted(compareBytes)
    for (const [index, name] of names.entries()) {
      if (index % STRIDE === 0) yield
      const path = joinBytes(directory, name)
      if (!here.has(name)) yield { kind: 'delete', path }
      else if (!there.has(name)) yield* added(this.#upper, path, 'add')
      else yield* this.object(path, evidence)
    }
  }

  *object(path: ByteString, evidence?: Evidence): Comparison {
    const [stat, below] = [this.#upper.lstat(path), this.#lower.lstat(path)]
    if (stat.type !== 'directory') {
      if (yield* this.#differs(path, stat, below, evidence)) yield { kind: 'modify', path, stat }
    } else if (below.type !== 'directory') yield* added(this.#upper, path, 'modify')
    else {
      const differs = attributesDiffer(this.#upper, this.#lower, path, stat, below)
      const contents = this.within(path, evidence?.within(path, stat))
      yield* withContents({ kind: 'modify', path, stat }, differs, contents)
    }
  }

  *#differs(
    path: ByteString,
    stat: SyncStat,
    below: SyncStat,
    evidence: Evidence | undefined,
  ): Generator<undefined, boolean, void> {
    if (stat.dev === below.dev && stat.ino === below.ino) return false
    if (stat.nlink > below.nlink || this.#looksDiffer(path, stat, below)) return true
    const isUntouched = evidence?.isUntouched(stat, below) === true
    if (stat.type === 'file' && !isUntouched && (yield* contentsDiffer(this.#upper, this.#lower, path)))
      return true
    if ((stat.nlink === 1 && below.nlink === 1) || (isUntouched && evidence.keepsNames())) return false
    return yield* this.#links.differ(path, stat, below, (other, ours, theirs) =>
      this.#differs(other, ours, theirs, undefined),
    )
  }

  /** Whether objects differ in anything that shows without reading a file. */
  #looksDiffer(path: ByteString, stat: SyncStat, below: SyncStat): boolean {
    if (stat.type !== below.type || stat.size !== below.size) return true
    if (timesDiffer(stat.mtimeNs, below.mtimeNs)) return true
    if (attributesDiffer(this.#upper, this.#lower, path, stat, below)) return true
    return stat.type === 'symlink' && this.#upper.readlink(path) !== this.#lower.readlink(path)
  }
}

/** Yields the whole subtree at a path that the lower tree lacks, or has as another kind of object. */
export function* added(fs: SyncFs, path: ByteString, kind: 'add' | 'modify'): Comparison {
  const stat = fs.lstat(path)
  yield { kind, path, stat }
  if (stat.type === 'directory') yield* addedBelow(fs, path)
}

function* addedBelow(fs: SyncFs, directory: ByteString): Comparison {
  const names = [...namesOf(fs, directory)].toSorted(compareBytes)
  for (const [index, name] of names.entries()) {
    if (index % STRIDE === 0) yield
    yield* added(fs, joinBytes(directory, name), 'add')
  }
}

/** A directory that both trees have. It is listed first if it `differs` itself, else before the first change in it. */
export function* withContents(directory: TreeChange, differs: boolean, contents: Comparison): Comparison {
  let listed = differs
  if (listed) yield directory
  for (const found of contents) {
    if (found !== undefined && !listed) {
      listed = true
      yield directory
    }
    yield found
  }
}

function timesDiffer(ours: bigint, theirs: bigint): boolean {
  if (ours === theirs) return false
  const coarse = ours % SECOND === 0n || theirs % SECOND === 0n
  return !coarse || ours / SECOND !== theirs / SECOND
}

export function attributesDiffer(
  upper: SyncFs,
  lower: SyncFs,
  path: ByteString,
  stat: SyncStat,
  below: SyncStat,
): boolean {
  return (
    stat.mode !== below.mode ||
    stat.uid !== below.uid ||
    stat.gid !== below.gid ||
    stat.device.major !== below.device.major ||
    stat.device.minor !== below.device.minor ||
    // Includes overlayfs xattrs: in a whole tree, a program set them.
    xattrsDiffer(xattrsOf(upper, path, undefined, none), xattrsOf(lower, path, undefined, none))
  )
}

const none = (): boolean => false

function xattrsDiffer(a: ReadonlyMap<ByteString, Buffer>, b: ReadonlyMap<ByteString, Buffer>): boolean {
  if (a.size !== b.size) return true
  for (const [name, value] of a) if (b.get(name)?.equals(value) !== true) return true
  return false
}

/**
 * The xattrs of an object that a layer can hold, without those that belong to the place where it is stored.
 * @param file the object, if it is open, which saves a lookup
 * @param isLeftOut which other xattrs are not read
 */
export function xattrsOf(
  fs: SyncFs,
  path: ByteString,
  file?: SyncFile,
  isLeftOut: (name: ByteString) => boolean = isOverlayXattr,
): ReadonlyMap<ByteString, Buffer> {
  const names = file?.listxattr?.() ?? fs.listxattr(path)
  if (names.length === 0) return NO_XATTRS
  const xattrs = new Map<ByteString, Buffer>()
  for (const name of names.toSorted(compareBytes)) {
    if (isLeftOut(name) || name === 'security.selinux' || name.startsWith(XFS_ACL)) continue
    const value = file?.getxattr === undefined ? fs.getxattr(path, name) : file.getxattr(name)
    if (value !== undefined) xattrs.set(name, value)
  }
  return xattrs
}

function* contentsDiffer(
  upper: SyncFs,
  lower: SyncFs,
  path: ByteString,
): Generator<undefined, boolean, void> {
  const a = openFile(upper, path)
  const b = openFile(lower, path)
  try {
    for (let position = 0; ;) {
      const [count, other] = [a.read(OURS, position), b.read(THEIRS, position)]
      if (count !== other || OURS.compare(THEIRS, 0, count, 0, count) !== 0) return true
      if (count === 0) return false
      position += count
      yield
    }
  } finally {
    a.close()
    b.close()
  }
}

function openFile(fs: SyncFs, path: ByteString): SyncFile {
  return fs.openSeen?.(path) ?? fs.open(path, constants.O_RDONLY)
}

/** Shared by all comparisons of a thread. No bytes are kept across a yield. */
const [OURS, THEIRS] = [Buffer.allocUnsafeSlow(CHUNK), Buffer.allocUnsafeSlow(CHUNK)] as const

function namesOf(fs: SyncFs, directory: ByteString): Set<ByteString> {
  try {
    return new Set(fs.readdir(directory).map(({ name }) => name))
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return new Set()
    throw error
  }
}
