import { constants } from 'node:fs'
import type { ByteString } from '../fs/bytes.js'
import { xattrsOf } from '../fs/trees/compare.js'
import type { SyncFs, SyncStat } from '../fs/sync-fs.js'
import { walk } from '../fs/trees/walk.js'

const SHOWN = 200

/**
 * A whole tree by path. Each object is one line: type, mode, owner, mtime if selected, xattrs, then its content, or the
 * first name of a hard-linked object.
 */
export type Tree = ReadonlyMap<string, string>

/** Options of {@link treeOf}. */
export interface TreeOptions {
  /** Selects the objects whose mtime is part of their line. @default none */
  readonly times?: (path: string, stat: SyncStat) => boolean
}

/**
 * Returns the whole tree, with the root as `/`.
 *
 * @example
 * ```ts
 * import { treeOf } from 'layerstack/conformance'
 *
 * const tree = treeOf(container.fs.syncFs)
 * console.log(tree.get('/etc/motd')) // file 644 0:0 "welcome\n"
 * ```
 */
export function treeOf(fs: SyncFs, { times = () => false }: TreeOptions = {}): Tree {
  const tree = new Map<string, string>()
  const names = new Map<string, string>()
  for (const { path, stat } of [{ path: ROOT, stat: fs.lstat(ROOT) }, ...walk(fs)]) {
    const shown = `/${path}`
    const inode = `${stat.dev}:${stat.ino}`
    const first = stat.type !== 'directory' && stat.nlink > 1 ? names.get(inode) : undefined
    if (first === undefined) names.set(inode, shown)
    tree.set(
      shown,
      [
        stat.type,
        stat.mode.toString(8),
        `${stat.uid}:${stat.gid}`,
        ...(times(shown, stat) ? [`mtime=${stat.mtimeNs}`] : []),
        ...[...xattrsOf(fs, path)].map(([name, value]) => `${name}=${value.toString('hex')}`),
        first === undefined ? substance(fs, path, stat) : `= ${first}`,
      ]
        .filter((word) => word !== '')
        .join(' '),
    )
  }
  return tree
}

/**
 * Returns the differences between two trees in readable form, followed by the whole actual tree; `undefined` if they
 * are equal.
 *
 * @example
 * ```ts
 * import { treeOf, treesDiffer } from 'layerstack/conformance'
 *
 * const before = treeOf(container.fs.syncFs)
 * await container.fs.writeFile('/page', 'hello\n')
 * console.log(treesDiffer(treeOf(container.fs.syncFs), before))
 * ```
 */
export function treesDiffer(actual: Tree, expected: Tree): string | undefined {
  const lines: string[] = []
  for (const path of [...new Set([...expected.keys(), ...actual.keys()])].toSorted()) {
    const [is, should] = [actual.get(path), expected.get(path)]
    if (is === should) continue
    if (should !== undefined) lines.push(`  should be  ${path} ${clip(should)}`)
    lines.push(is === undefined ? `  is missing ${path}` : `  is         ${path} ${clip(is)}`)
  }
  if (lines.length === 0) return undefined
  return `${lines.join('\n')}\nthe whole tree:\n${showTree(actual)}`
}

/**
 * Returns a tree in readable form, one line per object. An object's description is cut after 200 characters.
 *
 * @example
 * ```ts
 * import { showTree, treeOf } from 'layerstack/conformance'
 *
 * console.log(showTree(treeOf(container.fs.syncFs)))
 * ```
 */
export function showTree(tree: Tree): string {
  return [...tree].map(([path, line]) => `  ${path} ${clip(line)}`).join('\n')
}

function substance(fs: SyncFs, path: ByteString, stat: SyncStat): string {
  switch (stat.type) {
    case 'file':
      return JSON.stringify(contentOf(fs, path, stat.size))
    case 'symlink':
      return `-> ${fs.readlink(path)}`
    case 'char':
    case 'block':
      return `${stat.device.major}:${stat.device.minor}`
    default:
      return ''
  }
}

function contentOf(fs: SyncFs, path: ByteString, size: number): string {
  const file = fs.open(path, constants.O_RDONLY)
  try {
    const buffer = Buffer.alloc(size + 1)
    let length = 0
    for (let count = -1; count !== 0 && length < buffer.length; length += count) {
      count = file.read(buffer.subarray(length), length)
    }
    return buffer.toString('latin1', 0, length)
  } finally {
    file.close()
  }
}

function clip(line: string): string {
  return line.length > SHOWN ? `${line.slice(0, SHOWN)}… (${line.length})` : line
}

const ROOT = '' as ByteString
