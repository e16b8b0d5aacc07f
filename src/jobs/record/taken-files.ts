import { closeSync } from 'node:fs'
import type { ByteString } from '../../fs/bytes.js'
import { HostFile } from '../../fs/host/host-file.js'
import type { SyncFile } from '../../fs/sync-fs.js'
import { setFileAttributes, writeAll, type FileAttributes } from '../../tar/whole-file.js'

/** Files that one thread created and another thread fills, as plain data. Descriptors are process-wide. */
export interface TakenFiles {
  /** `WORDS` numbers per file: descriptor, start of its content in the shared memory, length, uid, gid, mode. */
  readonly words: Float64Array
  /** Access and modification time of each file, in ns. */
  readonly times: BigInt64Array
}

const WORDS = 6

/** Collects files for another thread. Owns their descriptors until `handOver`. */
export class FileTaker {
  readonly #memory: SharedArrayBuffer
  #words: number[] = []
  #times: bigint[] = []

  /** @param memory shared memory that holds the content of the files */
  constructor(memory: SharedArrayBuffer) {
    this.#memory = memory
  }

  take(file: SyncFile, { uid, gid, mode, atimeNs, mtimeNs }: FileAttributes, content: Uint8Array): boolean {
    const atime = atimeNs ?? mtimeNs
    if (content.buffer !== this.#memory || !fits(atime) || !fits(mtimeNs)) return false
    const fd = file.detach?.()
    if (fd === undefined) return false
    this.#words.push(fd, content.byteOffset, content.length, uid, gid, mode)
    this.#times.push(atime, mtimeNs)
    return true
  }

  /** Returns the files taken since the last call. The caller must fill or close them. */
  handOver(): TakenFiles | undefined {
    if (this.#words.length === 0) return undefined
    const files = { words: Float64Array.from(this.#words), times: BigInt64Array.from(this.#times) }
    this.#words = []
    this.#times = []
    return files
  }
}

/**
 * Writes the content of all files, sets their attributes and closes them. Closes all of them even if one fails, and
 * throws that error.
 */
export function fillFiles(files: TakenFiles, memory: SharedArrayBuffer): void {
  let filled = 0
  try {
    for (; filled < countOf(files); filled++) fill(files, filled, memory)
  } finally {
    closeFiles(files, filled)
  }
}

/** @param from number of files that are already closed */
export function closeFiles(files: TakenFiles, from = 0): void {
  for (let index = from; index < countOf(files); index++) closeSync(files.words[index * WORDS] as number)
}

export function countOf({ words }: TakenFiles): number {
  return words.length / WORDS
}

function fill({ words, times }: TakenFiles, index: number, memory: SharedArrayBuffer): void {
  const word = (offset: number): number => words[index * WORDS + offset] as number
  const file = new HostFile(word(0), '' as ByteString, false, undefined)
  writeAll(file, new Uint8Array(memory, word(1), word(2)), 0)
  setFileAttributes(file, {
    uid: word(3),
    gid: word(4),
    mode: word(5),
    atimeNs: times[2 * index] as bigint,
    mtimeNs: times[2 * index + 1] as bigint,
  })
  file.close()
}

function fits(ns: bigint): boolean {
  return BigInt.asIntN(64, ns) === ns
}
