import { existsSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ioctl, request } from './ioctl.js'
import { mknod } from './mknod.js'

const BLKDISCARD = request('none', 0x12, 119, 0)
const BLKGETSIZE64 = request('read', 0x12, 114, 8)

/** Where a block device is to be opened; its node is made where nobody else makes nodes. */
export function blockDevicePath(major: number, minor: number): string {
  const path = join('/dev', basename(readlinkSync(`/sys/dev/block/${major}:${minor}`)))
  if (!existsSync(path)) mknod(path, 'block', 0o600, major, minor)
  return path
}

/** In bytes. */
export function blockDeviceSize(fd: number): bigint {
  const size = Buffer.alloc(8)
  ioctl(fd, BLKGETSIZE64, size, 'BLKGETSIZE64')
  return size.readBigUInt64LE()
}

/** What is in the range is needed no more. */
export function discardBlocks(fd: number, start: bigint, length: bigint): void {
  const range = Buffer.alloc(16)
  range.writeBigUInt64LE(start, 0)
  range.writeBigUInt64LE(length, 8)
  ioctl(fd, BLKDISCARD, range, 'BLKDISCARD')
}
