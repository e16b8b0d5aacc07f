import type { TransformOptions } from 'node:stream'
import { createGunzip, type ZlibOptions } from 'node:zlib'
import { StoreError } from '../errors.js'
import { DETECTION_BYTES, detectCompression, type Compression } from './compression.js'
import { through } from './through.js'
import { unpackZstd } from './zstd.js'

/** Large, so that unpacking a chunk on the thread pool and working on the one before it run side by side. */
const CHUNK = 1 << 20
const GUNZIP: ZlibOptions & TransformOptions = { chunkSize: CHUNK, highWaterMark: CHUNK }

export interface DecompressOptions {
  /** Told once, before the first chunk. */
  readonly onDetected?: (compression: Compression) => void
}

/**
 * Takes bytes that may be compressed and gives the bytes that were packed. Several gzip members or zstd frames in a row
 * are one stream, as Docker reads them; what follows them and is none (but for NUL padding after gzip) is
 * `ARCHIVE_CORRUPT`, an end too early `ARCHIVE_TRUNCATED`. Errors of the source pass through as they are.
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
    yield* unpack(compression, rejoin(head, chunks))
  } finally {
    await chunks.return?.()
  }
}

function unpack(compression: Compression, chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  switch (compression) {
    case 'none':
      return chunks
    case 'gzip':
      return through(createGunzip(GUNZIP), chunks, explainGzip)
    case 'zstd':
      return unpackZstd(chunks, CHUNK)
  }
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
    return new StoreError('ARCHIVE_TRUNCATED', 'the gzip stream ends too early', { cause: error })
  }
  if (!code.startsWith('Z_')) return error
  return new StoreError('ARCHIVE_CORRUPT', `not a sound gzip stream: ${(error as Error).message}`, {
    cause: error,
  })
}
