import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import type { ByteString } from '../../fs/bytes.js'
import { xattrsOf } from '../../fs/trees/compare.js'
import type { SyncFs, SyncStat } from '../../fs/sync-fs.js'
import { walk } from '../../fs/trees/walk.js'
import { MTIME } from './raw-tar.js'

/** Options of {@link outlineOf}. */
export interface OutlineOptions {
  /**
   * Times from this one until a day later are shown as `now`, because a program took them from the clock. In
   * nanoseconds since 1970.
   * @default no time is shown as `now`
   */
  readonly nowFrom?: bigint
}

/**
 * Returns a tree as lines, one per path. Defaults are left out: root's, dated 2001 (`MTIME`), 0644, or 0755 for
 * directories. Bytes that do not print are `\xNN`.
 *
 *     d/ mode 700               a directory
 *     d/a owner 1:2 "content"   a file
 *     d/b = d/a                 another name of it
 *     d/s -> a                  a symlink
 *     null char 1:3 at 0        a device of 1970
 *
 * The root has a line, `/`, if its mode, owner or xattrs are not the default. Content of more than 60 bytes is shown as
 * its size and the first 8 hex digits of its sha256.
 *
 * @example
 * ```ts
 * import { outlineOf } from 'layerstack/conformance'
 *
 * console.log(outlineOf(container.fs.syncFs).join('\n'))
 * ```
 */
export function outlineOf(fs: SyncFs, options: OutlineOptions = {}): string[] {
  const names = new Map<string, ByteString>()
  const root = ['/', ...attributesOf(fs, ROOT, fs.lstat(ROOT))]
  const lines = root.length > 1 ? [root.join(' ')] : []
  for (const { path, stat } of walk(fs)) {
    const inode = `${stat.dev}:${stat.ino}`
    const first = stat.type === 'directory' ? undefined : names.get(inode)
    names.set(inode, first ?? path)
    const words =
      first === undefined
        ? [...attributesOf(fs, path, stat), ...timeOf(stat, options), ...substanceOf(fs, path, stat)]
        : ['=', shown(first)]
    lines.push([stat.type === 'directory' ? `${shown(path)}/` : shown(path), ...words].join(' '))
  }
  return lines
}

function attributesOf(fs: SyncFs, path: ByteString, { type, mode, uid, gid }: SyncStat): string[] {
  const usual = type === 'directory' ? 0o755 : 0o644
  return [
    ...(mode === usual || type === 'symlink' ? [] : [`mode ${mode.toString(8)}`]),
    ...(uid === 0 && gid === 0 ? [] : [`owner ${uid}:${gid}`]),
    ...[...xattrsOf(fs, path)].map(([name, value]) => `${shown(name)}=${shown(value.toString('latin1'))}`),
  ]
}

function timeOf({ mtimeNs }: SyncStat, { nowFrom }: OutlineOptions): string[] {
  if (mtimeNs === BigInt(MTIME) * BILLION) return []
  const isNow = nowFrom !== undefined && mtimeNs >= nowFrom && mtimeNs < nowFrom + DAY
  return [isNow ? 'at now' : `at ${seconds(mtimeNs)}`]
}

/** Seconds with nine decimals, or with none. */
function seconds(ns: bigint): string {
  const size = ns < 0n ? -ns : ns
  const fraction = size % BILLION === 0n ? '' : `.${(size % BILLION).toString().padStart(9, '0')}`
  return `${ns < 0n ? '-' : ''}${size / BILLION}${fraction}`
}

function substanceOf(fs: SyncFs, path: ByteString, stat: SyncStat): string[] {
  switch (stat.type) {
    case 'file':
      return [contentOf(fs, path, stat)]
    case 'symlink':
      return ['->', shown(fs.readlink(path))]
    case 'char':
    case 'block':
      return [stat.type, `${stat.device.major}:${stat.device.minor}`]
    case 'directory':
      return []
    default:
      return [stat.type]
  }
}

function contentOf(fs: SyncFs, path: ByteString, { size }: SyncStat): string {
  const file = fs.open(path, constants.O_RDONLY)
  try {
    const buffer = Buffer.alloc(size)
    for (let at = 0; at < size;) {
      const count = file.read(buffer.subarray(at), at)
      if (count === 0) break
      at += count
    }
    if (size <= SHOWN) return `"${shown(buffer.toString('latin1'))}"`
    return `${size} bytes ${createHash('sha256').update(buffer).digest('hex').slice(0, 8)}`
  } finally {
    file.close()
  }
}

function shown(text: string): string {
  return text.replaceAll(/[^ -[\]-~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

const ROOT = '' as ByteString
const BILLION = 1_000_000_000n
const DAY = 86_400n * BILLION
const SHOWN = 60
