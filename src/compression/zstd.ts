import type { Transform } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import * as zlib from 'node:zlib'
import { StoreError } from '../errors.js'
import { through } from './through.js'
import { ZstdFrames } from './zstd-frames.js'

/** Node has zstd from 22.15 on. The types of the Node version that we compile for do not include it. */
interface NativeZstd {
  createZstdCompress?(options?: { chunkSize?: number }): Transform
  createZstdDecompress?(options?: { chunkSize?: number; highWaterMark?: number }): Transform
}

/** Bytes compressed at once, as one frame, if Node has no zstd; about 20 ms of work. */
const FRAME = 1 << 20
/** Bytes decompressed at once if Node has no zstd. */
const PIECE = 64 << 10
/** A piece that may decompress to more than this is split into smaller ones. None of them decompresses to more. */
const BURST = 8 << 20
const SMALL_PIECE = 256
/** Most bytes moved per byte of input or output. Frames of full blocks need at most 1,024. */
const MAX_MOVED = 4096
/** Moved bytes that are always allowed: a few seconds of work. */
const FREE_MOVED = 2 ** 34

const native: NativeZstd = zlib as NativeZstd

export function unpackZstd(
  source: AsyncIterable<Uint8Array>,
  chunkSize: number,
  maxWindow: number,
): AsyncIterable<Uint8Array> {
  if (native.createZstdDecompress === undefined) return unpackWithPackage(source, maxWindow)
  const checked = checkFrames(source, maxWindow)
  return through(native.createZstdDecompress({ chunkSize, highWaterMark: chunkSize }), checked, corrupt)
}

export function packZstd(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  return native.createZstdCompress === undefined
    ? packWithPackage(source)
    : through(native.createZstdCompress(), source)
}

/**
 * Checks each frame before the decoder reads it. Refuses garbage after the last frame, and windows that are too large.
 */
async function* checkFrames(
  source: AsyncIterable<Uint8Array>,
  maxWindow: number,
): AsyncGenerator<Uint8Array, void, void> {
  const frames = new ZstdFrames(maxWindow)
  for await (const chunk of source) {
    frames.push(chunk)
    yield chunk
  }
  frames.end()
}

async function* unpackWithPackage(
  source: AsyncIterable<Uint8Array>,
  maxWindow: number,
): AsyncGenerator<Uint8Array, void, void> {
  const { Decompress } = await import('fzstd')
  const frames = new ZstdFrames(maxWindow)
  let unpacked: Uint8Array[] = []
  const decoder = new Decompress((chunk) => void unpacked.push(chunk))
  let done = 0
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += PIECE) {
      const piece = chunk.subarray(at, at + PIECE)
      const before = frames.work.output
      frames.push(piece)
      done += piece.length
      refuseSlow(frames, done)
      const step = frames.work.output - before > BURST ? SMALL_PIECE : PIECE
      for (let from = 0; from < piece.length; from += step) {
        decode(() => decoder.push(piece.subarray(from, from + step)))
        yield* joined(unpacked)
        unpacked = []
      }
    }
  }
  frames.end()
  decode(() => decoder.push(new Uint8Array(0), true))
  yield* joined(unpacked)
}

/** fzstd would take hours for a large window and small blocks. */
function refuseSlow({ work }: ZstdFrames, input: number): void {
  if (work.moved <= FREE_MOVED || work.moved <= MAX_MOVED * (input + work.output)) return
  throw new StoreError(
    'ARCHIVE_UNSUPPORTED',
    'a zstd frame with small blocks and a large window is too slow to decompress',
    {
      hint: 'compress it again without --long, or use Node 22.15 or later, which has built-in zstd',
    },
  )
}

/** Joins small chunks, because each costs readers some microseconds. */
function joined(chunks: readonly Uint8Array[]): readonly Uint8Array[] {
  if (chunks.length < 2) return chunks.filter(({ length }) => length > 0)
  return chunks.some(({ length }) => length >= PIECE)
    ? chunks.filter(({ length }) => length > 0)
    : [Buffer.concat(chunks)].filter(({ length }) => length > 0)
}

function decode(step: () => void): void {
  try {
    step()
  } catch (error) {
    throw corrupt(error)
  }
}

async function* packWithPackage(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const { Zstd } = await import('@hpcc-js/wasm-zstd')
  const zstd = await Zstd.load()
  let empty = true
  for await (const frame of regroup(source, FRAME)) {
    yield zstd.compress(frame).slice()
    empty = false
    await setImmediate()
  }
  if (empty) yield zstd.compress(new Uint8Array(0)).slice()
}

/** Yields the same bytes in pieces of `size`, except for the last. */
async function* regroup(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array, void, void> {
  let group = Buffer.allocUnsafeSlow(size)
  let used = 0
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(size - used, chunk.length - at)
      group.set(chunk.subarray(at, at + taken), used)
      at += taken
      used += taken
      if (used === size) {
        yield group
        group = Buffer.allocUnsafeSlow(size)
        used = 0
      }
    }
  }
  if (used > 0) yield group.subarray(0, used)
}

function corrupt(error: unknown): unknown {
  const { code, name } = error as NodeJS.ErrnoException
  const ofDecoder =
    typeof code === 'number' ||
    (typeof code === 'string' && code.startsWith('ZSTD_')) ||
    name === 'RangeError'
  if (!ofDecoder) return error
  return new StoreError('ARCHIVE_CORRUPT', `corrupt zstd stream: ${(error as Error).message}`, {
    cause: error,
  })
}
