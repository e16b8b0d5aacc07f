import { constants } from 'node:fs'
import { isErrno } from '../errors.js'
import { baseOf, joinBytes, parentOf, type ByteString } from './bytes.js'
import type { SyncDirent, SyncFs, SyncStat } from './sync-fs.js'
import type { HostFsSpec } from './spec.js'

/**
 * How a directory in overlay form (an upper or `diff` directory) records what it takes away from the layers below it.
 * There are several forms of each mark, made by the kernel, by fuse-overlayfs, by containers/storage and by us; every one
 * is read, and the first one that the host lets us make is written:
 *
 * | mark            | forms, in the order of trying                                                                    |
 * |-----------------|--------------------------------------------------------------------------------------------------|
 * | whiteout of `x` | character device 0:0 named `x` · file `.wh.x`                                                    |
 * | opaque          | xattr `trusted.overlay.opaque` = `y` · `user.overlay.opaque` = `y` · file `.wh..wh..opq` inside   |
 *
 * A `.wh.x` beside an `x` hides what lower layers have under that name, and never the `x` of the same layer. Names that
 * begin with `.wh.` therefore cannot stand for themselves in such a directory.
 */

const MARK = '.wh.'
const META = '.wh..wh.'
const OPAQUE_FILE = '.wh..wh..opq' as ByteString
const OPAQUE_XATTRS = [
  'trusted.overlay.opaque',
  'user.overlay.opaque',
  'user.fuseoverlayfs.opaque',
] as ByteString[]
const REDIRECT_XATTRS = ['trusted.overlay.redirect', 'user.overlay.redirect'] as ByteString[]
const METACOPY_XATTRS = ['trusted.overlay.metacopy', 'user.overlay.metacopy'] as ByteString[]
const YES = Buffer.from('y')
const MARK_MODE = 0o600
const XATTR_BLOCK = 4096

/** A filesystem that holds a tree in overlay form. `spec` tells which forms of a mark the host takes. */
export type MarkedFs = SyncFs & { readonly spec?: HostFsSpec }

/** What a directory holds, marks taken apart from entries. */
export interface OverlayDir {
  /** Without marks. */
  readonly entries: SyncDirent[]
  /** Names that lower layers no longer show here; one of them may also be among the entries. */
  readonly whiteouts: Set<ByteString>
  /** Nothing of lower layers shows here. */
  readonly opaque: boolean
  /** See {@link OverlayDirMarks}. */
  readonly redirected: boolean
}

/** What xattrs of a directory say about the layers below it. */
interface OverlayDirMarks {
  readonly opaque: boolean
  /** A kernel with `redirect_dir=on` put a renamed directory here, whose lower content lies under another name. */
  readonly redirected: boolean
}

/** Names that stand for a mark and never for themselves. */
export function isMarkName(name: ByteString): boolean {
  return name.startsWith(MARK)
}

/**
 * @param mount the xattrs that a kernel's mount marks the directory with, if programs wrote to it through one. Other marks
 *   are then theirs: names are entries, and xattrs mean nothing
 */
export function readOverlayDir(fs: MarkedFs, dir: ByteString, mount?: 'trusted' | 'user'): OverlayDir {
  const entries: SyncDirent[] = []
  const whiteouts = new Set<ByteString>()
  let opaque = false
  for (const entry of fs.readdir(dir)) {
    if (mount === undefined && entry.name.startsWith(MARK)) {
      if (entry.name === OPAQUE_FILE) opaque = true
      else if (!entry.name.startsWith(META)) whiteouts.add(entry.name.slice(MARK.length) as ByteString)
    } else if (entry.type === 'char' && isWhiteoutAt(fs, joinBytes(dir, entry.name))) {
      whiteouts.add(entry.name)
    } else {
      entries.push(entry)
    }
  }
  const marks = overlayDirMarks(fs, dir, mount)
  return { entries, whiteouts, opaque: opaque || marks.opaque, redirected: marks.redirected }
}

/** Reads the xattrs of a directory; the `.wh..wh..opq` file is not looked for. */
function overlayDirMarks(
  fs: MarkedFs,
  dir: ByteString,
  mount: 'trusted' | 'user' | undefined,
): OverlayDirMarks {
  const all = xattrsOf(fs, dir)
  const has = (name: ByteString): boolean =>
    all.includes(name) && (mount === undefined || name.startsWith(`${mount}.overlay.`))
  return {
    opaque: OPAQUE_XATTRS.some((name) => has(name) && fs.getxattr(dir, name)?.equals(YES)),
    redirected: REDIRECT_XATTRS.some(has),
  }
}

/**
 * Whether a regular file is only the metadata of a file below, as a kernel with `metacopy=on` writes it: a file without
 * content, but for a block that its xattrs may take, and one of these says so.
 */
export function isMetacopy(fs: MarkedFs, path: ByteString, stat: SyncStat): boolean {
  const allocated = stat.blocks * 512
  if (stat.size === 0 || (allocated >= stat.size && allocated > XATTR_BLOCK)) return false
  const names = xattrsOf(fs, path)
  return METACOPY_XATTRS.some((name) => names.includes(name))
}

/** Nothing may be at `path`; its directory must be there. */
export function makeWhiteout(fs: MarkedFs, path: ByteString): void {
  if (!makeWhiteoutDevice(fs, path)) makeWhiteoutFile(fs, path)
}

/** The form that a kernel knows; false, and nothing made, where the host does not let us. */
export function makeWhiteoutDevice(fs: MarkedFs, path: ByteString): boolean {
  try {
    fs.mknod(path, 'char', 0, { major: 0, minor: 0 })
    return true
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  }
}

/** The form of fuse-overlayfs, which may stand beside the file that it will hide the lower ones of. */
export function makeWhiteoutFile(fs: MarkedFs, path: ByteString): void {
  makeMarkFile(fs, whiteoutFileOf(path))
}

/** Whether a node is a whiteout by itself: a character device 0:0. The `.wh.` form is known by its name alone. */
export function isWhiteoutAt(fs: MarkedFs, path: ByteString): boolean {
  const { type, device } = fs.find(path) ?? {}
  return type === 'char' && device?.major === 0 && device.minor === 0
}

/** Removes every form of a whiteout of `path`; false when there was none. */
export function removeWhiteout(fs: MarkedFs, path: ByteString): boolean {
  const device = isWhiteoutAt(fs, path)
  if (device) fs.unlink(path)
  return removeWhiteoutFile(fs, path) || device
}

export function removeWhiteoutFile(fs: MarkedFs, path: ByteString): boolean {
  try {
    fs.unlink(whiteoutFileOf(path))
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

/** Hides what lower layers have in `dir`. */
export function makeOpaque(fs: MarkedFs, dir: ByteString): void {
  for (const name of opaqueXattrsOf(fs)) {
    try {
      fs.setxattr(dir, name, YES)
      return
    } catch (error) {
      if (!isRefusal(error)) throw error
    }
  }
  makeMarkFile(fs, joinBytes(dir, OPAQUE_FILE))
}

/** Where the `.wh.` form of a whiteout of `path` lies. */
function whiteoutFileOf(path: ByteString): ByteString {
  return joinBytes(parentOf(path), `${MARK}${baseOf(path)}` as ByteString)
}

/** Xattrs that belong to the overlay and not to the file: never copied up, never part of a layer's tar. */
export function isOverlayXattr(name: ByteString): boolean {
  return (
    name.startsWith('trusted.overlay.') ||
    name.startsWith('user.overlay.') ||
    name.startsWith('user.fuseoverlayfs.')
  )
}

/** Where attributes are kept in `user` xattrs, `trusted` ones are too, and mean nothing to a kernel. */
function opaqueXattrsOf(fs: MarkedFs): ByteString[] {
  const [trusted, user] = OPAQUE_XATTRS as [ByteString, ByteString]
  const { attributes, overlayXattrs } = fs.spec ?? {}
  if (attributes === 'override' || overlayXattrs === 'user') return [user]
  return overlayXattrs === 'trusted' ? [trusted] : [trusted, user]
}

function xattrsOf(fs: MarkedFs, path: ByteString): ByteString[] {
  try {
    return fs.listxattr(path)
  } catch (error) {
    if (isRefusal(error)) return []
    throw error
  }
}

function makeMarkFile(fs: MarkedFs, path: ByteString): void {
  fs.open(path, constants.O_WRONLY | constants.O_CREAT, MARK_MODE).close()
}

/** The host cannot or may not keep this kind of mark; another kind may do. */
function isRefusal(error: unknown): boolean {
  return isErrno(error, 'EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL')
}
