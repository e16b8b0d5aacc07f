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
 * Attributes kept in xattrs, as fuse-overlayfs and containers/storage do.
 *
 * `user.containers.override_stat` = `uid:gid:mode:type`, mode in octal, type one of `dir`, `file`, `symlink`, `pipe`,
 * `socket`, `char-<major>-<minor>`, `block-<major>-<minor>`. Nodes that only root may make are regular files on the
 * host, and so are symlinks with an owner, since a symlink can have no `user.` xattr: their target is their content.
 *
 * An xattr that is not the user's to set, `security.capability` say, is `user.containers.override_security.capability`.
 * What the host itself keeps in such xattrs (SELinux labels) is no part of the tree.
 *
 * A file without the xattr that belongs to the tree's owner shows as root's; an xattr that would say no more is left out,
 * but on the root directory, by which others know that the tree is kept so.
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

/** `user.` xattrs are set as they are; all others, and those that would be taken for ours, behind the prefix. */
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

/** Mostly there is none, and a call that throws costs more than one that looks. */
function drop(subject: Subject): void {
  if (get(subject, STAT) === undefined) return
  if (typeof subject.host === 'number') fremovexattr(subject.host, STAT)
  else lremovexattr(subject.host, STAT)
}

type Parsed = Omit<KeptStat, 'type'> & { readonly type: FileType | undefined }

/** `undefined` for a value that is malformed, or names an id or a device that no file can have. */
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

/** A regular file of the host cannot stand for a directory, whatever is said. */
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
