import { existsSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ioctl, request } from './ioctl.js'
import { mknod } from './mknod.js'

const BLKDISCARD = request('none', 0x12, 119, 0)
const BLKGETSIZE64 = request('read', 0x12, 114, 8)

/** Returns the path of a block device. Creates the node if it does not exist, for systems where nothing else does. */
export function blockDevicePath(major: number, minor: number): string {
  const path = join('/dev', basename(readlinkSync(`/sys/dev/block/${major}:${minor}`)))
  if (!existsSync(path)) mknod(path, 'block', 0o600, major, minor)
  return path
}

/** Returns the device's size in bytes. */
export function blockDeviceSize(fd: number): bigint {
  const size = Buffer.alloc(8)
  ioctl(fd, BLKGETSIZE64, size, 'BLKGETSIZE64')
  return size.readBigUInt64LE()
}

/** Tells the device that the content of the range is no longer needed. `start` and `length` are in bytes. */
export function discardBlocks(fd: number, start: bigint, length: bigint): void {
  const range = Buffer.alloc(16)
  range.writeBigUInt64LE(start, 0)
  range.writeBigUInt64LE(length, 8)
  ioctl(fd, BLKDISCARD, range, 'BLKDISCARD')
}
