import { constants } from 'node:fs'
import type { Tree } from '#layerstack/conformance/index.js'
import { baseOf, type ByteString } from '#layerstack/fs/bytes.js'
import type { LayerFs } from '#layerstack/fs/facade/layer-fs.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { hasCapability } from '#layerstack/sys/capabilities.js'
import { walk } from '#layerstack/fs/trees/walk.js'
import type { Entry } from './entries.js'
import type { Step } from './step.js'
import type { Look, World } from './world.js'

/**
 * The allowed differences of two drivers, each with its reason. Every other difference is a failure.
 */

/** What two drivers must have in common besides their trees. */
export interface Rules {
  /** Diffs have the same entries, and hard links the same count, because both drivers copy up or neither does. */
  readonly sameDiffs: boolean
  /** Neither makes diffs by comparing trees, which ignores times of directories and hard links of lower files. */
  readonly copiesUp: boolean
  /** Each driver can open the root of the other. */
  readonly interchange: boolean
  /** Attributes of a side are not in the inodes, so the kernel does not clear or inherit its set-id bits. */
  readonly keptAside: boolean
}

/** If a call has two invalid paths, its error may be about either. */
export function sameResult(one: string, other: string, step: Step): boolean {
  const plain = (result: string) =>
    step.do === 'rename' || step.do === 'link' ? result.replace('ENOTDIR', 'ENOENT') : result
  return plain(one) === plain(other)
}

/** Without CAP_SYS_ADMIN, errors for trusted xattrs depend on whether the attributes are in the inodes. */
export function cannotBeTaken(step: Step): boolean {
  return 'name' in step && step.name.startsWith('trusted.') && !MAY_TRUST
}

const MAY_TRUST = hasCapability('CAP_SYS_ADMIN')

/** Adapts a step to the rules. */
export function underRules<T extends Step>(step: T, rules: Rules): T {
  if (step.do === 'fs.both') {
    return { ...step, steps: [underRules(step.steps[0], rules), underRules(step.steps[1], rules)] }
  }
  if (!rules.keptAside || !('mode' in step)) return step
  return { ...step, mode: step.mode & ~SET_ID }
}

const SET_ID = 0o6000

/** How much a driver may refuse: a plain tree nothing, the overlay of the kernel something, a userspace union more. */
export function rankOf({ driver }: World): number {
  if (driver.name !== 'overlay2') return WHOLE
  return driver.engine === 'kernel' ? OVERLAY : UNION
}

const [WHOLE, OVERLAY, UNION] = [0, 1, 2]

/** Whether the side with the higher rank, which goes first, may refuse the step. If so, the other side skips it. */
export function isRefused(step: Step, result: string, rank: number, otherRank: number): boolean {
  const code = /^\w+/.exec(result)?.[0] ?? ''
  return REFUSALS.some(
    (each) => rank >= each.rank && otherRank < each.rank && each.code === code && each.of(step),
  )
}

const REFUSALS: readonly Refusal[] = [
  // Without redirect_dir, whose layers other programs cannot read.
  { rank: OVERLAY, code: 'EXDEV', of: (step) => step.do === 'rename' || step.do === 'fs.rename' },
  // The device number of whiteouts.
  {
    rank: OVERLAY,
    code: 'EPERM',
    of: (step) => step.do === 'mknod' && step.type === 'char' && step.minor === 0,
  },
  // The name of a whiteout file, a form that the union reads.
  { rank: UNION, code: 'EINVAL', of: (step) => makesName(step, '.wh.') },
]

function makesName(step: Step, beginning: string): boolean {
  const path = 'to' in step ? step.to : 'path' in step ? step.path : ''
  return baseOf(path as ByteString).startsWith(beginning)
}

interface Refusal {
  /** The lowest rank that may refuse. */
  readonly rank: number
  readonly code: string
  readonly of: (step: Step) => boolean
}

/**
 * Copy-up breaks hard links of a lower file, and a full copy does not. A comparison does not see the removed names of a
 * lower file. So in a new container, each name of a hard-linked file becomes a separate file on both sides.
 */
export function separateLinks(raw: SyncFs): void {
  const names = new Map<string, ByteString[]>()
  for (const { path, stat } of walk(raw)) {
    const inode = `${stat.dev}:${stat.ino}`
    if (stat.type !== 'directory' && stat.nlink > 1) names.set(inode, [...(names.get(inode) ?? []), path])
  }
  for (const paths of names.values()) if (paths.length > 1) for (const path of paths) recreate(raw, path)
}

/** Removes sockets before a layer is made from a diff, since a tar cannot contain them. */
export function removeSockets(raw: SyncFs): void {
  for (const { path, stat } of [...walk(raw)]) if (stat.type === 'socket') raw.unlink(path)
}

/** Removes objects that a program can create but no layer can contain: names, devices and xattrs used as whiteouts. */
export async function removeMarks(fs: LayerFs): Promise<void> {
  const { syncFs: raw } = fs
  for (const { path, stat } of [...walk(raw)]) {
    const isDevice = stat.type === 'char' && stat.device.major === 0 && stat.device.minor === 0
    if (baseOf(path).startsWith('.wh.') || isDevice) {
      await fs.rm(Buffer.from(`/${path}`, 'latin1'), { recursive: true, force: true })
    } else {
      for (const name of raw.listxattr(path)) {
        if (/^(user|trusted)\.overlay\./.test(name)) raw.removexattr(path, name)
      }
    }
  }
}

/** Omits objects that were copied up without a change, which a comparison of trees does not list. */
export function withoutUnchanged({ changes, entries, tree, below }: Look): {
  changes: string[]
  entries: Entry[]
} {
  const kept: string[] = []
  for (const change of changes.toReversed()) {
    const path = change.slice(change.indexOf(' ') + 1)
    const isUnchanged = change.startsWith('modify ') && lineAt(tree, path) === lineAt(below, path)
    if (!isUnchanged || kept.some((each) => each.includes(` ${path}/`))) kept.push(change)
  }
  const paths = new Set(
    kept.filter((each) => !each.startsWith('delete ')).map((each) => each.slice(each.indexOf(' ') + 1)),
  )
  return { changes: kept.toReversed(), entries: entries.filter(({ path }) => paths.has(path)) }
}

/** Times of directories are not compared. */
function lineAt(tree: Tree, path: string): string | undefined {
  const line = tree.get(`/${path}`)
  return line?.startsWith('directory ') === true ? line.replace(/ mtime=-?\d+/, '') : line
}

function recreate(raw: SyncFs, path: ByteString): void {
  const { type, mode, uid, gid, size, device } = raw.lstat(path)
  const target = type === 'symlink' ? raw.readlink(path) : ('' as ByteString)
  const content = type === 'file' ? contentAt(raw, path, size) : undefined
  const xattrs = raw.listxattr(path).map((name) => [name, raw.getxattr(path, name)] as const)
  raw.unlink(path)
  if (content !== undefined) {
    const file = raw.open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode)
    file.write(content, 0)
    file.close()
  } else if (type === 'symlink') raw.symlink(target, path)
  else if (type !== 'file' && type !== 'directory') raw.mknod(path, type, mode, device)
  raw.chown(path, uid, gid)
  for (const [name, value] of xattrs) if (value !== undefined) raw.setxattr(path, name, value)
  if (type !== 'symlink') raw.chmod(path, mode)
}

function contentAt(raw: SyncFs, path: ByteString, size: number): Buffer {
  const file = raw.open(path, constants.O_RDONLY)
  const content = Buffer.alloc(size)
  file.read(content, 0)
  file.close()
  return content
}
