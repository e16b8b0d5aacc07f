import { systemError } from '../../sys/errno.js'
import {
  fgetxattr,
  flistxattr,
  fremovexattr,
  fsetxattr,
  lgetxattr,
  llistxattr,
  lremovexattr,
  lsetxattr,
} from '../../sys/xattr.js'
import {
  isDeviceNumber,
  isId,
  isXattrName,
  ownersMode,
  showsByItself,
  TreeOwner,
  type Attributes,
  type KeptStat,
  type Subject,
} from '../attributes.js'
import { bytesToHost, toBytes, type ByteString } from '../bytes.js'
import { NO_DEVICE } from './host-stat.js'
import type { FileType, SyncStat } from '../sync-fs.js'

const PREFIX = 'user.containers.override_'
const STAT = `${PREFIX}stat`

/**
 * Attributes stored in xattrs, as fuse-overlayfs and containers/storage do.
 *
 * `user.containers.override_stat` = `uid:gid:mode:type`, with the mode in octal. The type is `dir`, `file`, `symlink`,
 * `pipe`, `socket`, `char-<major>-<minor>` or `block-<major>-<minor>`. Devices, FIFOs and sockets are regular files on
 * the host, except whiteouts (0:0). A symlink with an owner is a regular file with the target as its content, since a
 * symlink cannot have a `user.` xattr.
 *
 * An xattr that this user may not set, such as `security.capability`, is stored as
 * `user.containers.override_security.capability`. If the host itself has such xattrs (SELinux labels), they are not
 * part of the tree.
 *
 * A file without the xattr that belongs to the tree's owner shows as root's. An xattr that would add nothing is left
 * out, except on the root directory, where it tells other programs that the tree uses this format.
 */
export class OverrideStat implements Attributes {
  readonly marksSymlinks = false
  readonly #owner: TreeOwner

  constructor(root: string) {
    this.#owner = new TreeOwner(root)
  }

  seen(subject: Subject, inode: SyncStat): SyncStat {
    const kept = inode.type === 'file' || inode.type === 'directory' ? keptOf(subject) : undefined
    if (kept === undefined) return this.#owner.shown(inode)
    const type = inode.type === 'directory' ? 'directory' : shownType(kept)
    const size = type === inode.type || type === 'symlink' ? inode.size : 0
    return { ...inode, ...kept, type, size }
  }

  typeOf(subject: Subject): FileType {
    const kept = keptOf(subject)
    return kept === undefined ? 'file' : shownType(kept)
  }

  hostMode(type: FileType, mode: number): number {
    return ownersMode(type, mode)
  }

  keep(subject: Subject, kept: KeptStat): void {
    const isMark = kept.type === 'symlink' || subject.path === ''
    if (showsByItself(kept) && !isMark) drop(subject)
    else set(subject, STAT, Buffer.from(textOf(kept)))
  }

  list({ host }: Subject): ByteString[] {
    const names: ByteString[] = []
    for (const bytes of typeof host === 'number' ? flistxattr(host) : llistxattr(host)) {
      const name = toBytes(bytes)
      if (!name.startsWith(PREFIX)) {
        if (name.startsWith('user.')) names.push(name)
      } else if (name !== STAT) names.push(name.slice(PREFIX.length) as ByteString)
    }
    return names
  }

  get(subject: Subject, name: ByteString): Buffer | undefined {
    return get(subject, isXattrName(name) ? hostName(name) : bytesToHost(name))
  }

  set(subject: Subject, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    set(subject, hostName(name), value, flag)
  }

  remove(subject: Subject, name: ByteString): void {
    const { host } = subject
    if (get(subject, hostName(name)) === undefined) {
      throw systemError('ENODATA', 'removexattr', bytesToHost(name))
    }
    if (typeof host === 'number') fremovexattr(host, hostName(name))
    else lremovexattr(host, hostName(name))
  }

  close(): void {}
}

/**
 * `user.` xattrs keep their names. All others, and those that would be mistaken for this format's own, get the prefix.
 */
function hostName(name: ByteString): string | Buffer {
  if (!isXattrName(name)) throw systemError('ENOTSUP', 'xattr', bytesToHost(name))
  const asIs = name.startsWith('user.') && !name.startsWith(PREFIX)
  return bytesToHost(asIs ? name : (`${PREFIX}${name}` as ByteString))
}

function get({ host }: Subject, name: string | Buffer): Buffer | undefined {
  return typeof host === 'number' ? fgetxattr(host, name) : lgetxattr(host, name)
}

function set({ host }: Subject, name: string | Buffer, value: Uint8Array, flag?: 'create' | 'replace'): void {
  if (typeof host === 'number') fsetxattr(host, name, value, flag)
  else lsetxattr(host, name, value, flag)
}

/** Looks first: the xattr is mostly absent, and a call that throws costs more than a lookup. */
function drop(subject: Subject): void {
  if (get(subject, STAT) === undefined) return
  if (typeof subject.host === 'number') fremovexattr(subject.host, STAT)
  else lremovexattr(subject.host, STAT)
}

type Parsed = Omit<KeptStat, 'type'> & { readonly type: FileType | undefined }

/** Returns `undefined` if the value is malformed or has an ID or a device number that no file can have. */
function keptOf(subject: Subject): Parsed | undefined {
  const value = get(subject, STAT)?.toString('latin1')
  const match = /^(\d+):(\d+):([0-7]+)(?::(.*))?$/s.exec(value ?? '')
  if (match === null) return undefined
  const [, uid, gid, mode, type = ''] = match as unknown as [string, string, string, string, string?]
  const numbers = /^(?:char|block)-(\d+)-(\d+)/.exec(type)
  const device = numbers === null ? NO_DEVICE : { major: Number(numbers[1]), minor: Number(numbers[2]) }
  if (!isId(Number(uid)) || !isId(Number(gid)) || !isDeviceNumber(device)) return undefined
  return {
    uid: Number(uid),
    gid: Number(gid),
    mode: Number.parseInt(mode, 8) & 0o7777,
    type: TYPES.find(([text]) => type.startsWith(text))?.[1],
    device,
  }
}

/** A regular file of the host cannot show as a directory, whatever the xattr says. */
function shownType({ type }: Parsed): FileType {
  return type === undefined || type === 'directory' ? 'file' : type
}

const TYPES: readonly (readonly [text: string, type: FileType])[] = [
  ['dir', 'directory'],
  ['file', 'file'],
  ['symlink', 'symlink'],
  ['pipe', 'fifo'],
  ['socket', 'socket'],
  ['char', 'char'],
  ['block', 'block'],
]

function textOf({ uid, gid, mode, type, device }: KeptStat): string {
  const name = TYPES.find(([, known]) => known === type)?.[0] ?? 'file'
  const number = type === 'char' || type === 'block' ? `-${device.major}-${device.minor}` : ''
  return `${uid}:${gid}:${mode.toString(8).padStart(4, '0')}:${name}${number}`
}
