import type { ByteString } from './bytes.js'
import type { DeviceNumber, FileType, RawStat } from './raw-fs.js'

/** What the operating system may refuse to keep in an inode. */
export interface KeptStat {
  readonly type: FileType
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly device: DeviceNumber
}

/**
 * Where `HostFs` keeps owners, modes, types and xattrs when the inode is not to be used (see `AttributeKeeping`). Host
 * paths are good only during the call.
 */
export interface Attributes {
  /** What a file is to show, given what its inode says. */
  seen(hostPath: string | Buffer, path: ByteString, inode: RawStat): RawStat
  /** The permission bits to give the inode of a file that shows others. */
  hostMode(type: FileType, mode: number): number
  keep(hostPath: string | Buffer, path: ByteString, kept: KeptStat): void
  /** The type that the inode takes for a file of this type: one that the system lets everybody make and mark. */
  hostType(type: FileType): 'file' | 'directory' | 'symlink'
  list(hostPath: string | Buffer, path: ByteString): ByteString[]
  get(hostPath: string | Buffer, path: ByteString, name: ByteString): Buffer | undefined
  set(
    hostPath: string | Buffer,
    path: ByteString,
    name: ByteString,
    value: Uint8Array,
    flag?: 'create' | 'replace',
  ): void
  remove(hostPath: string | Buffer, path: ByteString, name: ByteString): void
}
