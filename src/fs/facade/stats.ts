import { deviceNumber } from '../../sys/mknod.js'
import { bytesToBuffer, bytesToText } from '../bytes.js'
import type { LayerBigIntStats, LayerDirent, LayerStats } from './layer-fs.js'
import type { FileType, SyncDirent, SyncStat } from '../sync-fs.js'

const TYPE_BITS: Readonly<Record<FileType, number>> = {
  file: 0o100000,
  directory: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
}
const MILLION = 1_000_000n
const BLOCK_SIZE = 4096

/** The type predicates of Node's `Stats` and `Dirent`. */
class Typed {
  readonly #type: FileType

  constructor(type: FileType) {
    this.#type = type
  }

  isFile(): boolean {
    return this.#type === 'file'
  }

  isDirectory(): boolean {
    return this.#type === 'directory'
  }

  isSymbolicLink(): boolean {
    return this.#type === 'symlink'
  }

  isFIFO(): boolean {
    return this.#type === 'fifo'
  }

  isSocket(): boolean {
    return this.#type === 'socket'
  }

  isCharacterDevice(): boolean {
    return this.#type === 'char'
  }

  isBlockDevice(): boolean {
    return this.#type === 'block'
  }
}

export function statsOf(syncFs: SyncStat): LayerStats {
  return Object.assign(new Typed(syncFs.type), {
    dev: Number(syncFs.dev),
    ino: Number(syncFs.ino),
    mode: TYPE_BITS[syncFs.type] | syncFs.mode,
    nlink: syncFs.nlink,
    uid: syncFs.uid,
    gid: syncFs.gid,
    rdev: Number(deviceNumber(syncFs.device.major, syncFs.device.minor)),
    size: syncFs.size,
    blksize: BLOCK_SIZE,
    blocks: syncFs.blocks,
    atimeMs: Number(syncFs.atimeNs) / 1e6,
    mtimeMs: Number(syncFs.mtimeNs) / 1e6,
    ctimeMs: Number(syncFs.ctimeNs) / 1e6,
    birthtimeMs: Number(syncFs.birthtimeNs) / 1e6,
    ...datesOf(syncFs),
  })
}

export function bigIntStatsOf(syncFs: SyncStat): LayerBigIntStats {
  return Object.assign(new Typed(syncFs.type), {
    dev: syncFs.dev,
    ino: syncFs.ino,
    mode: BigInt(TYPE_BITS[syncFs.type] | syncFs.mode),
    nlink: BigInt(syncFs.nlink),
    uid: BigInt(syncFs.uid),
    gid: BigInt(syncFs.gid),
    rdev: deviceNumber(syncFs.device.major, syncFs.device.minor),
    size: BigInt(syncFs.size),
    blksize: BigInt(BLOCK_SIZE),
    blocks: BigInt(syncFs.blocks),
    atimeMs: syncFs.atimeNs / MILLION,
    mtimeMs: syncFs.mtimeNs / MILLION,
    ctimeMs: syncFs.ctimeNs / MILLION,
    birthtimeMs: syncFs.birthtimeNs / MILLION,
    atimeNs: syncFs.atimeNs,
    mtimeNs: syncFs.mtimeNs,
    ctimeNs: syncFs.ctimeNs,
    birthtimeNs: syncFs.birthtimeNs,
    ...datesOf(syncFs),
  })
}

export function direntOf({ name, type }: SyncDirent, parentPath: string): LayerDirent {
  return Object.assign(new Typed(type), {
    name: bytesToText(name),
    nameBytes: bytesToBuffer(name),
    parentPath,
    type,
  })
}

function datesOf(syncFs: SyncStat): { atime: Date; mtime: Date; ctime: Date; birthtime: Date } {
  const date = (ns: bigint) => new Date(Number(ns / MILLION))
  return {
    atime: date(syncFs.atimeNs),
    mtime: date(syncFs.mtimeNs),
    ctime: date(syncFs.ctimeNs),
    birthtime: date(syncFs.birthtimeNs),
  }
}
