import { ioctl, request, withDirectory } from './ioctl.js'

const EXT4_IOC_RESIZE_FS = request('write', 0x66, 16, 8)
const BTRFS_IOC_RESIZE = request('write', 0x94, 3, 4096)
const XFS_IOC_FSGEOMETRY_V1 = request('read', 0x58, 100, 112)
const XFS_IOC_FSGROWFSDATA = request('write', 0x58, 110, 16)

/** Grows a mounted ext4 to this many blocks of its own block size. */
export function growExt4(mountPoint: string, blocks: bigint): void {
  const argument = Buffer.alloc(8)
  argument.writeBigUInt64LE(blocks)
  withDirectory(mountPoint, (fd) => ioctl(fd, EXT4_IOC_RESIZE_FS, argument, 'EXT4_IOC_RESIZE_FS', mountPoint))
}

/** Grows a mounted XFS to this many blocks of its own block size. */
export function growXfs(mountPoint: string, blocks: bigint): void {
  withDirectory(mountPoint, (fd) => {
    const geometry = Buffer.alloc(112)
    ioctl(fd, XFS_IOC_FSGEOMETRY_V1, geometry, 'XFS_IOC_FSGEOMETRY_V1', mountPoint)
    const argument = Buffer.alloc(16)
    argument.writeBigUInt64LE(blocks)
    argument.writeUInt32LE(geometry.readUInt32LE(28), 8)
    ioctl(fd, XFS_IOC_FSGROWFSDATA, argument, 'XFS_IOC_FSGROWFSDATA', mountPoint)
  })
}

/** Grows a mounted btrfs to fill its device. */
export function growBtrfs(mountPoint: string): void {
  const argument = Buffer.alloc(4096)
  argument.write('max', 8)
  withDirectory(mountPoint, (fd) => ioctl(fd, BTRFS_IOC_RESIZE, argument, 'BTRFS_IOC_RESIZE', mountPoint))
}
