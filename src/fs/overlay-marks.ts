import { constants } from 'node:fs'
import { isErrno } from '../errors.js'
import { baseOf, joinBytes, parentOf, type ByteString } from './bytes.js'
import type { SyncDirent, SyncFs, SyncStat } from './sync-fs.js'
import type { HostFsSpec } from './spec.js'

/**
 * Marks in a directory in overlay form (an upper or `diff` directory). They record what the directory hides of the
 * layers below it. Each mark has several forms, made by the kernel, fuse-overlayfs, containers/storage and this
 * library. All forms are read. The first form that the host accepts is written:
 *
 * | mark            | forms, in order of preference                                                                |
 * |-----------------|----------------------------------------------------------------------------------------------|
 * | whiteout of `x` | character device 0:0 named `x` · file `.wh.x`                                                |
 * | opaque          | xattr `trusted.overlay.opaque` = `y` · `user.overlay.opaque` = `y` · file `.wh..wh..opq` inside |
 *
 * A `.wh.x` beside an `x` hides what lower layers have under that name, never the `x` of the same layer. Names that
 * begin with `.wh.` are therefore marks and cannot name ordinary entries of such a directory.
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

/** A filesystem that holds a tree in overlay form. `spec` says which forms of a mark the host accepts. */
export type MarkedFs = SyncFs & { readonly spec?: HostFsSpec }

/** A directory listing that separates marks from entries. */
export interface OverlayDir {
  /** Without marks. */
  readonly entries: SyncDirent[]
  /** Names that this directory hides in lower layers. A name may also be among the entries. */
  readonly whiteouts: Set<ByteString>
  /** Whether the directory hides everything in lower layers. */
  readonly opaque: boolean
  /** See {@link OverlayDirMarks}. */
  readonly redirected: boolean
}

/** What the xattrs of a directory say about the layers below it. */
interface OverlayDirMarks {
  readonly opaque: boolean
  /** A kernel with `redirect_dir=on` renamed the directory to this place. Its lower content lies under another name. */
  readonly redirected: boolean
}

/** Whether the name is reserved for marks. */
export function isMarkName(name: ByteString): boolean {
  return name.startsWith(MARK)
}

/**
 * @param mount the xattr namespace of the kernel mount through which programs wrote to the directory, if any. `.wh.`
 *   names are then ordinary entries, and overlay xattrs of other namespaces mean nothing.
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

/** Reads the marks in a directory's xattrs. Does not look for the `.wh..wh..opq` file. */
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
 * Whether a regular file holds only the metadata of a file below, as a kernel with `metacopy=on` writes it. Such a file
 * has no content, except a block that its xattrs may occupy, and has a metacopy xattr.
 */
export function isMetacopy(fs: MarkedFs, path: ByteString, stat: SyncStat): boolean {
  const allocated = stat.blocks * 512
  if (stat.size === 0 || (allocated >= stat.size && allocated > XATTR_BLOCK)) return false
  const names = xattrsOf(fs, path)
  return METACOPY_XATTRS.some((name) => names.includes(name))
}

/** Nothing may exist at `path`. Its directory must exist. */
export function makeWhiteout(fs: MarkedFs, path: ByteString): void {
  if (!makeWhiteoutDevice(fs, path)) makeWhiteoutFile(fs, path)
}

/** Makes the form that the kernel reads. Returns false, without making anything, if the host refuses. */
export function makeWhiteoutDevice(fs: MarkedFs, path: ByteString): boolean {
  try {
    fs.mknod(path, 'char', 0, { major: 0, minor: 0 })
    return true
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  }
}

/** Makes fuse-overlayfs's form. It may be made beside the file whose lower versions it will hide. */
export function makeWhiteoutFile(fs: MarkedFs, path: ByteString): void {
  makeMarkFile(fs, whiteoutFileOf(path))
}

/** Whether an object is itself a whiteout: a character device 0:0. Only its name identifies the `.wh.` form. */
export function isWhiteoutAt(fs: MarkedFs, path: ByteString): boolean {
  const { type, device } = fs.find(path) ?? {}
  return type === 'char' && device?.major === 0 && device.minor === 0
}

/** Removes every form of a whiteout of `path`. Returns false if there was none. */
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

/** Hides everything that lower layers have in `dir`. */
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

/** Path of the `.wh.` form of a whiteout of `path`. */
function whiteoutFileOf(path: ByteString): ByteString {
  return joinBytes(parentOf(path), `${MARK}${baseOf(path)}` as ByteString)
}

/**
 * Whether an xattr's name belongs to the overlay and not to the file. Such an xattr is never part of a layer's tar.
 * Copy-up skips it unless a union shows it under another name (see `shownXattr`).
 */
export function isOverlayXattr(name: ByteString): boolean {
  return (
    name.startsWith('trusted.overlay.') ||
    name.startsWith('user.overlay.') ||
    name.startsWith('user.fuseoverlayfs.')
  )
}

/** In `override` mode, `trusted` xattrs are stored as `user` xattrs, which the kernel does not read as marks. */
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

/** The host cannot or may not store this form of a mark. Another form may work. */
function isRefusal(error: unknown): boolean {
  return isErrno(error, 'EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL')
}
