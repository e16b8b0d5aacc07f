import { statfsSync } from 'node:fs'

export interface FileSystem {
  /** The name that `docker info` uses: `extfs`, `xfs`, `btrfs`, `overlayfs`, `tmpfs` … or `<unknown>`. */
  readonly name: string
  /** Bytes still available to unprivileged users. */
  readonly free: bigint
}

/** Returns the file system that contains a directory. */
export function fileSystemOf(path: string): FileSystem {
  const { type, bavail, bsize } = statfsSync(path, { bigint: true })
  return { name: NAMES.get(Number(type & 0xffffffffn)) ?? '<unknown>', free: bavail * bsize }
}

/** Magic numbers of statfs(2), with the names in moby's graphdriver.FsNames. */
const NAMES = new Map([
  [0x61756673, 'aufs'],
  [0x9123683e, 'btrfs'],
  [0x28cd3d45, 'cramfs'],
  [0xf15f, 'ecryptfs'],
  [0xef53, 'extfs'],
  [0xf2f52010, 'f2fs'],
  [0x65735546, 'fuse'],
  [0x47504653, 'gpfs'],
  [0x3153464a, 'jfs'],
  [0x6969, 'nfs'],
  [0x794c7630, 'overlayfs'],
  [0x9fa0, 'proc'],
  [0x52654973, 'reiserfs'],
  [0xff534d42, 'smb'],
  [0x73717368, 'squashfs'],
  [0x01021994, 'tmpfs'],
  [0x6a656a63, 'virtiofs'],
  [0x565a4653, 'vxfs'],
  [0x58465342, 'xfs'],
  [0x2fc12fc1, 'zfs'],
])
