import { isErrno } from '../errors.js'
import { systemError } from '../sys/errno.js'
import { lgetxattr, llistxattr, lremovexattr, lsetxattr } from '../sys/xattr.js'
import type { Attributes, KeptStat } from './attributes.js'
import { bytesToHost, toBytes, type ByteString } from './bytes.js'
import type { DeviceNumber, FileType, RawStat } from './raw-fs.js'

const STAT = 'user.containers.override_stat'
/** fuse-overlayfs keeps xattrs that an ordinary user may not set under their names behind this. */
const PREFIX = 'user.fuseoverlayfs.'
const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 }

/**
 * Attributes kept in xattrs, in the convention of fuse-overlayfs and containers/storage:
 * `user.containers.override_stat` = `uid:gid:mode[:type]`, mode in octal, type one of `dir`, `file`, `symlink`, `pipe`,
 * `socket`, `char-<major>-<minor>`, `block-<major>-<minor>`. Nodes that only root may make are regular files on the
 * host, and so are symlinks with an owner, since a symlink can have no `user.` xattr: their target is their content.
 *
 * A file without the xattr that belongs to whoever runs this shows as root's. Writing one that says no more than that
 * is left out.
 */
export class OverrideStat implements Attributes {
  readonly #uid = process.getuid?.() ?? 0
  readonly #gid = process.getgid?.() ?? 0

  seen(hostPath: string | Buffer, _path: ByteString, inode: RawStat): RawStat {
    const value = inode.type === 'symlink' ? undefined : lgetxattr(hostPath, STAT)
    if (value !== undefined) return { ...inode, ...parse(value.toString('latin1'), inode) }
    const uid = inode.uid === this.#uid ? 0 : inode.uid
    const gid = inode.gid === this.#gid ? 0 : inode.gid
    return { ...inode, uid, gid }
  }

  hostMode(type: FileType, mode: number): number {
    return type === 'directory' ? mode | 0o700 : (mode | 0o600) & 0o777
  }

  hostType(type: FileType): 'file' | 'directory' | 'symlink' {
    return type === 'directory' || type === 'symlink' ? type : 'file'
  }

  keep(hostPath: string | Buffer, _path: ByteString, kept: KeptStat): void {
    if (isPlain(kept, this.hostMode(kept.type, kept.mode))) {
      this.#drop(hostPath)
      return
    }
    const text = `${kept.uid}:${kept.gid}:0${kept.mode.toString(8)}:${typeText(kept)}`
    lsetxattr(hostPath, STAT, Buffer.from(text))
  }

  list(hostPath: string | Buffer): ByteString[] {
    const names: ByteString[] = []
    for (const bytes of llistxattr(hostPath)) {
      const name = toBytes(bytes)
      if (name.startsWith(PREFIX)) names.push(name.slice(PREFIX.length) as ByteString)
      else if (name !== STAT) names.push(name)
    }
    return names
  }

  get(hostPath: string | Buffer, _path: ByteString, name: ByteString): Buffer | undefined {
    return lgetxattr(hostPath, hostName(name))
  }

  set(
    hostPath: string | Buffer,
    _path: ByteString,
    name: ByteString,
    value: Uint8Array,
    flag?: 'create' | 'replace',
  ): void {
    lsetxattr(hostPath, hostName(name), value, flag)
  }

  remove(hostPath: string | Buffer, _path: ByteString, name: ByteString): void {
    lremovexattr(hostPath, hostName(name))
  }

  #drop(hostPath: string | Buffer): void {
    try {
      lremovexattr(hostPath, STAT)
    } catch (error) {
      if (!isErrno(error, 'ENODATA', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP')) throw error
    }
  }
}

/** `user.` xattrs are set as they are; all others behind the prefix. */
function hostName(name: ByteString): string | Buffer {
  if (name === STAT || name.startsWith(PREFIX)) throw systemError('EPERM', 'xattr', bytesToHost(name))
  return name.startsWith('user.') ? bytesToHost(name) : bytesToHost((PREFIX + name) as ByteString)
}

function isPlain(kept: KeptStat, hostMode: number): boolean {
  const plainType = kept.type === 'file' || kept.type === 'directory' || kept.type === 'symlink'
  return plainType && kept.uid === 0 && kept.gid === 0 && (kept.type === 'symlink' || kept.mode === hostMode)
}

function typeText({ type, device }: KeptStat): string {
  switch (type) {
    case 'directory':
      return 'dir'
    case 'file':
    case 'symlink':
    case 'socket':
      return type
    case 'fifo':
      return 'pipe'
    case 'char':
    case 'block':
      return `${type}-${device.major}-${device.minor}`
  }
}

/** A value that nobody writes is taken as not there. */
function parse(text: string, inode: RawStat): Partial<RawStat> {
  const match = /^(\d+):(\d+):([0-7]+)(?::(dir|file|symlink|pipe|socket|(char|block)-(\d+)-(\d+)))?/.exec(
    text,
  )
  if (match === null) return {}
  const [, uid, gid, mode, name, node, major, minor] = match
  return {
    uid: Number(uid),
    gid: Number(gid),
    mode: Number.parseInt(mode as string, 8) & 0o7777,
    type: typeNamed(name, node, inode.type),
    device: node === undefined ? NO_DEVICE : { major: Number(major), minor: Number(minor) },
    ...(name !== undefined && name !== 'file' && name !== 'dir' && name !== 'symlink' && { size: 0 }),
  }
}

function typeNamed(name: string | undefined, node: string | undefined, inode: FileType): FileType {
  if (node === 'char' || node === 'block') return node
  if (name === 'pipe') return 'fifo'
  if (name === 'symlink' || name === 'socket') return name
  return inode
}
