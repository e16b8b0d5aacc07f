import { constants } from 'node:fs'
import type { ByteString } from '../fs/bytes.js'
import type { SyncFile, SyncFs, SyncStat } from '../fs/sync-fs.js'
import { dataRanges } from '../sys/seek.js'
import { libcAvailable } from '../sys/libc.js'
import type { Crc64 } from './crc64.js'
import type { ContentPiece } from './layer-model.js'

const CHUNK = 1 << 18
const ours = Buffer.allocUnsafeSlow(CHUNK)
const theirs = Buffer.allocUnsafeSlow(CHUNK)

/** Whether two regular files hold the same bytes. Yields between pieces. */
export function* sameContent(
  fs: SyncFs,
  path: ByteString,
  other: SyncFs,
  otherPath: ByteString,
): Generator<undefined, boolean, void> {
  const [a, b] = [fs.open(path, constants.O_RDONLY), other.open(otherPath, constants.O_RDONLY)]
  try {
    for (let position = 0; ; yield) {
      const [count, otherCount] = [readFull(a, ours, position), readFull(b, theirs, position)]
      if (count !== otherCount || !ours.subarray(0, count).equals(theirs.subarray(0, count))) return false
      if (count < CHUNK) return true
      position += count
    }
  } finally {
    a.close()
    b.close()
  }
}

/** Whether a file holds these pieces, and zeros between and after them. Yields between pieces. */
export function* holdsPieces(
  file: SyncFile,
  stat: SyncStat,
  pieces: readonly ContentPiece[],
  crc: Crc64,
): Generator<undefined, boolean, void> {
  let end = 0
  for (const { offset, length, checksum } of pieces.toSorted((a, b) => a.offset - b.offset)) {
    if (!(yield* isZero(file, stat, end, offset))) return false
    crc.begin()
    for (let at = 0; at < length; yield) {
      const count = readFull(file, ours.subarray(0, length - at), offset + at)
      if (count === 0) return false
      crc.update(ours.subarray(0, count))
      at += count
    }
    if (!crc.digest().equals(checksum)) return false
    end = Math.max(end, offset + length)
  }
  return yield* isZero(file, stat, end, stat.size)
}

/** Skips holes if the host reports them. */
function* isZero(
  file: SyncFile,
  stat: SyncStat,
  start: number,
  end: number,
): Generator<undefined, boolean, void> {
  const isSparse = file.fd !== undefined && stat.blocks * 512 < stat.size && libcAvailable().works
  const ranges = isSparse ? dataRanges(file.fd as number, end) : [[0, end] as const]
  for (const [from, to] of ranges) {
    for (let at = Math.max(from, start); at < to; yield) {
      const count = readFull(file, ours.subarray(0, to - at), at)
      if (count === 0) return false
      if (ours.subarray(0, count).some((byte) => byte !== 0)) return false
      at += count
    }
  }
  return true
}

function readFull(file: SyncFile, buffer: Buffer, position: number): number {
  let done = 0
  while (done < buffer.length) {
    const count = file.read(buffer.subarray(done), position + done)
    if (count === 0) break
    done += count
  }
  return done
}
