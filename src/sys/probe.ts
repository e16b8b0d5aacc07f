import {
  chownSync,
  closeSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { hasCapability } from './capabilities.js'
import { ficlone } from './clone.js'
import { fileSystemOf } from './file-system.js'
import { libcAvailable, type Availability } from './libc.js'
import { mknod } from './mknod.js'
import { mountOverlay } from './mount-overlay.js'
import { unmountIfMounted } from './mount.js'
import { openat2, RESOLVE_IN_ROOT } from './openat2.js'
import { lgetxattr, lsetxattr } from './xattr.js'

/** What works below a directory, here and now. Each answer is a trial, not a guess from a version. */
export interface Probe {
  /** System calls: koffi loads. */
  readonly libc: Availability
  readonly openat2: Availability
  readonly sysAdmin: Availability
  /** Files can be given to other owners. */
  readonly chown: Availability
  /** `mknod` of a device node that is not a whiteout. */
  readonly deviceNodes: Availability
  /** `mknod` of a character device 0:0. */
  readonly whiteouts: Availability
  readonly trustedXattrs: Availability
  readonly userXattrs: Availability
  readonly reflink: Availability
  /** The file system tells types of entries in directories, which overlayfs needs. */
  readonly dType: Availability
  /** An overlay was mounted, written to, and showed its whiteouts. */
  readonly overlay: Availability
  readonly backingFileSystem: string
}

/** Tries everything in a directory of its own below `directory`, which must be writable, and removes it. */
export function probe(directory: string): Probe {
  const place = mkdtempSync(join(directory, '.probe-'))
  try {
    return trials(place)
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function trials(place: string): Probe {
  const libc = libcAvailable()
  const withLibc = (work: () => void) => (libc.works ? attempt(work) : libc)
  const file = join(place, 'file')
  writeFileSync(file, 'layerstack')
  const whiteouts = withLibc(() => mknod(join(place, 'whiteout'), 'char', 0o600, 0, 0))
  const dType = entriesTellTypes(place)
  return {
    libc,
    openat2: withLibc(() => tryOpenat2(place)),
    sysAdmin: capability('CAP_SYS_ADMIN'),
    chown: attempt(() => tryChown(place)),
    deviceNodes: withLibc(() => mknod(join(place, 'null'), 'char', 0o600, 1, 3)),
    whiteouts,
    trustedXattrs: withLibc(() => tryXattr(file, 'trusted.layerstack')),
    userXattrs: withLibc(() => tryXattr(file, 'user.layerstack')),
    reflink: withLibc(() => tryReflink(place, file)),
    dType,
    overlay: !libc.works ? libc : dType.works ? tryOverlay(place) : dType,
    backingFileSystem: fileSystemOf(place).name,
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

function capability(name: 'CAP_SYS_ADMIN'): Availability {
  return hasCapability(name) ? { works: true } : { works: false, reason: `this process has no ${name}` }
}

function tryChown(place: string): void {
  const file = join(place, 'owned')
  writeFileSync(file, '')
  chownSync(file, 12345, 54321)
  symlinkSync('x', join(place, 'owned-link'))
  lchownSync(join(place, 'owned-link'), 12345, 54321)
}

function tryXattr(file: string, name: string): void {
  lsetxattr(file, name, Buffer.from('y'))
  if (lgetxattr(file, name)?.toString() !== 'y') throw new Error(`${name} did not keep its value`)
}

function tryReflink(place: string, file: string): void {
  const [from, to] = [openSync(file, 'r'), openSync(join(place, 'clone'), 'wx')]
  try {
    if (!ficlone(from, to)) throw new Error('the file system cannot share blocks between files')
  } finally {
    closeSync(from)
    closeSync(to)
  }
}

function entriesTellTypes(place: string): Availability {
  const entry = readdirSync(place, { withFileTypes: true }).find(({ name }) => name === 'file')
  return entry?.isFile()
    ? { works: true }
    : { works: false, reason: 'directory entries have no type (mkfs.xfs: ftype=1)' }
}

function tryOverlay(place: string): Availability {
  if (!/\toverlay$/m.test(readFileSync('/proc/filesystems', 'latin1')) && !hasCapability('CAP_SYS_ADMIN')) {
    return { works: false, reason: 'this kernel has no overlay file system' }
  }
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) =>
    join(place, name),
  ) as [string, string, string, string]
  for (const directory of [lower, upper, work, merged]) mkdirSync(directory)
  writeFileSync(join(lower, 'below'), '')
  return attempt(() => {
    mountOverlay(merged, { lowers: [lower], upper, work, options: ['redirect_dir=off'] })
    try {
      rmSync(join(merged, 'below'))
    } finally {
      unmountIfMounted(merged)
    }
    if (readdirSync(upper).length !== 1) throw new Error('an overlay was mounted but recorded no whiteout')
  })
}

function attempt(work: () => unknown): Availability {
  try {
    work()
    return { works: true }
  } catch (error) {
    return { works: false, reason: error instanceof Error ? error.message : String(error) }
  }
}
