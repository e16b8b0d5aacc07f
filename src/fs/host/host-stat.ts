import type { BigIntStats, Dirent } from 'node:fs'
import { deviceMajor, deviceMinor } from '../../sys/mknod.js'
import type { DeviceNumber, FileType, SyncStat } from '../sync-fs.js'

export const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 }

/** Converts Node's stat of a host file. */
export function rawStat(stat: BigIntStats): SyncStat {
  const mode = Number(stat.mode)
  const type = TYPES.get(mode & 0o170000) ?? 'file'
  return {
    type,
    mode: mode & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: Number(stat.size),
    nlink: Number(stat.nlink),
    dev: stat.dev,
    ino: stat.ino,
    device: type === 'char' || type === 'block' ? deviceOf(stat.rdev) : NO_DEVICE,
    blocks: Number(stat.blocks),
    atimeNs: stat.atimeNs,
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    birthtimeNs: stat.birthtimeNs,
  }
}

export function typeOfEntry(entry: Dirent): FileType {
  if (entry.isFile()) return 'file'
  if (entry.isDirectory()) return 'directory'
  if (entry.isSymbolicLink()) return 'symlink'
  if (entry.isCharacterDevice()) return 'char'
  if (entry.isBlockDevice()) return 'block'
  if (entry.isFIFO()) return 'fifo'
  return 'socket'
}

function deviceOf(rdev: bigint): DeviceNumber {
  return { major: deviceMajor(rdev), minor: deviceMinor(rdev) }
}

const TYPES = new Map<number, FileType>([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
  [0o020000, 'char'],
  [0o060000, 'block'],
  [0o010000, 'fifo'],
  [0o140000, 'socket'],
])
