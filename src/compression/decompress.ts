import type { TransformOptions } from 'node:stream'
import { createGunzip, type ZlibOptions } from 'node:zlib'
import { StoreError } from '../errors.js'
import { DEFAULT_LIMITS, type ResolvedLimits } from '../limits.js'
import { DETECTION_BYTES, detectCompression, type Compression } from './compression.js'
import { Expansion } from './expansion.js'
import { through } from './through.js'
import { unpackZstd } from './zstd.js'

/** Large, so that decompressing a chunk on the thread pool overlaps with work on the previous one. */
const CHUNK = 1 << 20
const GUNZIP: ZlibOptions & TransformOptions = { chunkSize: CHUNK, highWaterMark: CHUNK }

export interface DecompressOptions {
  /** @default the defaults of `Limits` */
  readonly limits?: Pick<ResolvedLimits, 'expansion' | 'zstdWindow'> | undefined
  /** Size of the source in bytes, if known. */
  readonly packedBytes?: number | undefined
  /** Called once, before the first chunk. */
  readonly onDetected?: (compression: Compression) => void
}

/**
 * Decompresses bytes that may be compressed. Several gzip members or zstd frames in a row are one stream, as in Docker.
 * Garbage after them (except NUL padding after gzip) is `ARCHIVE_CORRUPT`, an early end is `ARCHIVE_TRUNCATED`, and a
 * bomb is `LIMIT_EXCEEDED`. Errors of the source pass through.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  options: DecompressOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const chunks = source[Symbol.asyncIterator]()
  try {
    const head = await readHead(chunks)
    const compression = detectCompression(head)
    options.onDetected?.(compression)
    yield* unpack(compression, rejoin(head, chunks), options)
  } finally {
    await chunks.return?.()
  }
}

function unpack(
  compression: Compression,
  chunks: AsyncIterable<Uint8Array>,
  { limits = DEFAULT_LIMITS, packedBytes }: DecompressOptions,
): AsyncIterable<Uint8Array> {
  if (compression === 'none') return chunks
  const expansion = new Expansion(limits, packedBytes)
  const packed = expansion.watchInput(chunks)
  return expansion.watchOutput(
    compression === 'gzip'
      ? through(createGunzip(GUNZIP), packed, explainGzip)
      : unpackZstd(packed, CHUNK, limits.zstdWindow),
  )
}

async function readHead(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0)
  while (head.length < DETECTION_BYTES) {
    const next = await chunks.next()
    if (next.done === true) break
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value])
  }
  return head
}

async function* rejoin(
  head: Uint8Array,
  chunks: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  if (head.length > 0) yield head
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
}

function explainGzip(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  if (code === 'Z_BUF_ERROR') {
    return new StoreError('ARCHIVE_TRUNCATED', 'the gzip stream is truncated', { cause: error })
  }
  if (!code.startsWith('Z_')) return error
  return new StoreError('ARCHIVE_CORRUPT', `corrupt gzip stream: ${(error as Error).message}`, {
    cause: error,
  })
}
