import {
  chownSync,
  closeSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { isErrno } from '../errors.js'
import { hasCapability, type Capability } from './capabilities.js'
import { ficlone } from './clone.js'
import { tellsTypes } from './dirent-types.js'
import { fileSystemOf } from './file-system.js'
import { libcAvailable, type Availability } from './libc.js'
import { mknod } from './mknod.js'
import { mountOverlay, takesLayersOneByOne } from './mount-overlay.js'
import { unmountIfMounted } from './mount.js'
import { openat2, RESOLVE_IN_ROOT } from './openat2.js'
import { isAbandonedName, temporaryName } from './temporary-name.js'
import { timePrecisionAt, type TimePrecision } from './time-precision.js'
import { lgetxattr, lsetxattr } from './xattr.js'

/** What works below a directory now. Each answer comes from a trial, not from a kernel version. */
export interface Probe {
  /** System calls work: koffi loads. */
  readonly libc: Availability
  readonly openat2: Availability
  readonly sysAdmin: Availability
  /** This process can change file owners. */
  readonly chown: Availability
  /** `mknod` of a device node that is not a whiteout works. */
  readonly deviceNodes: Availability
  /** `mknod` of a character device 0:0 works. */
  readonly whiteouts: Availability
  readonly trustedXattrs: Availability
  readonly userXattrs: Availability
  /** The file system keeps `security.capability`; not every file system does. */
  readonly fileCapabilities: Availability
  readonly reflink: Availability
  /** The file system reports entry types in directories, which overlayfs needs. */
  readonly dType: Availability
  /**
   * An overlay works. The trial mounts one with marks in `trusted` xattrs, or in `user` xattrs if trusted ones are
   * unavailable. It removes a file and replaces a directory there, and finds the whiteout and the opaque mark in the
   * upper directory.
   */
  readonly overlay: Availability
  /** An overlay accepts up to 500 lower layers, regardless of path lengths (`lowerdir+`, Linux 6.7). */
  readonly manyLowers: Availability
  readonly backingFileSystem: string
  readonly times: TimePrecision
}

/** Runs all trials in a temporary directory below `directory`, which must be writable, and then removes it. */
export function probe(directory: string): Probe {
  removeLeftBehind(directory)
  const place = join(directory, temporaryName('probe'))
  mkdirSync(place, { mode: 0o700 })
  try {
    return trials(place)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function removeLeftBehind(directory: string): void {
  for (const name of readdirSync(directory)) {
    const place = join(directory, name)
    if (!name.startsWith('.tmp-probe-') || !isAbandonedName(name)) continue
    if (libcAvailable().works && hasCapability('CAP_SYS_ADMIN')) unmountIfMounted(join(place, 'merged'))
    rmSync(place, { recursive: true, force: true })
  }
}

function trials(place: string): Probe {
  const libc = libcAvailable()
  const withLibc = (work: () => void) => (libc.works ? attempt(work) : libc)
  const file = join(place, 'file')
  writeFileSync(file, 'layerstack')
  const sysAdmin = capability('CAP_SYS_ADMIN')
  const dType = withLibc(() => tryTypes(place))
  const trustedXattrs = withLibc(() => tryXattr(file, 'trusted.layerstack'))
  const userXattrs = withLibc(() => tryXattr(file, 'user.layerstack'))
  const obstacle = [libc, sysAdmin, overlayKnown(), dType].find(({ works }) => !works)
  const kind = trustedXattrs.works ? 'trusted' : 'user'
  return {
    libc,
    openat2: withLibc(() => tryOpenat2(place)),
    sysAdmin,
    chown: attempt(() => tryChown(place)),
    deviceNodes: withLibc(() => mknod(join(place, 'null'), 'char', 0o600, 1, 3)),
    whiteouts: withLibc(() => mknod(join(place, 'whiteout'), 'char', 0o600, 0, 0)),
    trustedXattrs,
    userXattrs,
    fileCapabilities: withLibc(() => tryCapability(file, trustedXattrs.works || userXattrs.works)),
    reflink: withLibc(() => tryReflink(place, file)),
    dType,
    overlay: obstacle ?? attempt(() => tryOverlay(place, kind)),
    manyLowers: obstacle ?? attempt(() => tryLayersOneByOne(place)),
    backingFileSystem: fileSystemOf(place).name,
    times: timePrecisionAt(file),
  }
}

function tryOpenat2(place: string): void {
  const root = openSync(place, 'r')
  try {
    closeSync(openat2(root, '/file', 0, RESOLVE_IN_ROOT))
  } finally {
    closeSync(root)
  }
}

function capability(name: Capability): Availability {
  return hasCapability(name)
    ? { works: true }
    : { works: false, reason: `this process does not have ${name}` }
}

function tryChown(place: string): void {
  const file = join(place, 'owned')
  writeFileSync(file, '')
  chownSync(file, 12345, 54321)
  symlinkSync('x', join(place, 'owned-link'))
  lchownSync(join(place, 'owned-link'), 12345, 54321)
}

function tryTypes(place: string): void {
  if (!tellsTypes(place)) {
    throw new Error(
      'directory entries have no type on this file system (mkfs.xfs -n ftype=1 or mke2fs -O filetype adds it)',
    )
  }
}

function tryXattr(file: string, name: string): void {
  lsetxattr(file, name, Buffer.from('y'))
  if (lgetxattr(file, name)?.toString() !== 'y') throw new Error(`${name} did not keep its value`)
}

/** If this process may not set one, other kinds of xattr that work are taken as evidence. */
function tryCapability(file: string, othersWork: boolean): void {
  try {
    lsetxattr(file, 'security.capability', NO_CAPABILITY)
  } catch (error) {
    if (!isErrno(error, 'EPERM') || !othersWork) throw error
  }
}

/** `VFS_CAP_REVISION_2` with no capability set. */
const NO_CAPABILITY = Buffer.from('0000000200000000000000000000000000000000', 'hex')

function tryReflink(place: string, file: string): void {
  const [from, to] = [openSync(file, 'r'), openSync(join(place, 'clone'), 'wx')]
  try {
    if (!ficlone(from, to)) throw new Error('the file system cannot share blocks between files')
  } finally {
    closeSync(from)
    closeSync(to)
  }
}

/** The kernel may load the module at the first mount, so for root a missing name proves nothing. */
function overlayKnown(): Availability {
  const listed = /\toverlay$/m.test(readFile('/proc/filesystems')) || hasCapability('CAP_SYS_ADMIN')
  return listed ? { works: true } : { works: false, reason: 'this kernel has no overlay file system' }
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return ''
    throw error
  }
}

function tryOverlay(place: string, kind: 'trusted' | 'user'): void {
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) =>
    join(place, name),
  ) as [string, string, string, string]
  for (const directory of [lower, upper, work, merged, join(lower, 'replaced')]) mkdirSync(directory)
  writeFileSync(join(lower, 'removed'), '')
  const options = kind === 'user' ? ['userxattr'] : ['redirect_dir=off']
  mountOverlay(merged, { lowers: [lower], upper, work, options })
  try {
    rmSync(join(merged, 'removed'))
    rmdirSync(join(merged, 'replaced'))
    mkdirSync(join(merged, 'replaced'))
  } finally {
    unmountIfMounted(merged)
  }
  const isMarked = lgetxattr(join(upper, 'replaced'), `${kind}.overlay.opaque`)?.toString() === 'y'
  if (!isMarked || !lstatSync(join(upper, 'removed')).isCharacterDevice()) {
    throw new Error('an overlay was mounted, but its upper directory does not record what was removed')
  }
}

function tryLayersOneByOne(place: string): void {
  if (!takesLayersOneByOne(place)) throw new Error('the kernel does not support lowerdir+ (needs Linux 6.7)')
}

function attempt(work: () => unknown): Availability {
  try {
    work()
    return { works: true }
  } catch (error) {
    return { works: false, reason: error instanceof Error ? error.message : String(error) }
  }
}
