import { deviceNumber } from '../sys/mknod.js'
import { bytesToBuffer, bytesToText } from './bytes.js'
import type { LayerBigIntStats, LayerDirent, LayerStats } from './layer-fs.js'
import type { FileType, RawDirent, RawStat } from './raw-fs.js'

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

/** The questions that Node's `Stats` and `Dirent` answer of a type. */
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

export function statsOf(raw: RawStat): LayerStats {
  return Object.assign(new Typed(raw.type), {
    dev: Number(raw.dev),
    ino: Number(raw.ino),
    mode: TYPE_BITS[raw.type] | raw.mode,
    nlink: raw.nlink,
    uid: raw.uid,
    gid: raw.gid,
    rdev: Number(deviceNumber(raw.device.major, raw.device.minor)),
    size: raw.size,
    blksize: BLOCK_SIZE,
    blocks: raw.blocks,
    atimeMs: Number(raw.atimeNs) / 1e6,
    mtimeMs: Number(raw.mtimeNs) / 1e6,
    ctimeMs: Number(raw.ctimeNs) / 1e6,
    birthtimeMs: Number(raw.birthtimeNs) / 1e6,
    ...datesOf(raw),
  })
}

export function bigIntStatsOf(raw: RawStat): LayerBigIntStats {
  return Object.assign(new Typed(raw.type), {
    dev: raw.dev,
    ino: raw.ino,
    mode: BigInt(TYPE_BITS[raw.type] | raw.mode),
    nlink: BigInt(raw.nlink),
    uid: BigInt(raw.uid),
    gid: BigInt(raw.gid),
    rdev: deviceNumber(raw.device.major, raw.device.minor),
    size: BigInt(raw.size),
    blksize: BigInt(BLOCK_SIZE),
    blocks: BigInt(raw.blocks),
    atimeMs: raw.atimeNs / MILLION,
    mtimeMs: raw.mtimeNs / MILLION,
    ctimeMs: raw.ctimeNs / MILLION,
    birthtimeMs: raw.birthtimeNs / MILLION,
    atimeNs: raw.atimeNs,
    mtimeNs: raw.mtimeNs,
    ctimeNs: raw.ctimeNs,
    birthtimeNs: raw.birthtimeNs,
    ...datesOf(raw),
  })
}

export function direntOf({ name, type }: RawDirent, parentPath: string): LayerDirent {
  return Object.assign(new Typed(type), {
    name: bytesToText(name),
    nameBytes: bytesToBuffer(name),
    parentPath,
    type,
  })
}

function datesOf(raw: RawStat): { atime: Date; mtime: Date; ctime: Date; birthtime: Date } {
  const date = (ns: bigint) => new Date(Number(ns / MILLION))
  return {
    atime: date(raw.atimeNs),
    mtime: date(raw.mtimeNs),
    ctime: date(raw.ctimeNs),
    birthtime: date(raw.birthtimeNs),
  }
}
