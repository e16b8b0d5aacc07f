import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { StoreError } from '../../errors.js'

/** Where the bytes of a layer come from. */
export type ByteSource = FileRange | ChunkSource

/** A part of a file, read by the thread that works on it. */
export interface FileRange {
  readonly path: string
  /** @default 0 */
  readonly offset?: number
  /** @default up to the end of the file */
  readonly length?: number
}

/** What is left of a stream. It is read to its end, or closed by `return()` when the job fails. */
interface ChunkSource {
  readonly chunks: AsyncIterable<Uint8Array>
}

const CHUNK = 1 << 19

/** Bytes of the source as it lies there; `undefined` for a stream. */
export function lengthOf(source: ByteSource): number | undefined {
  if ('chunks' in source) return undefined
  return source.length ?? statSync(source.path).size - (source.offset ?? 0)
}

/**
 * Reads synchronously: for a worker thread, or for one chunk at a time between other work.
 * @param buffer what the next chunk of a file is read to, by default memory of its own
 */
export function bytesOf(
  source: ByteSource,
  buffer: (wanted?: number) => Buffer = freshBuffer,
): AsyncIterable<Uint8Array> {
  return 'chunks' in source ? source.chunks : readRange(source, buffer)
}

/** No larger than a chunk. */
export function freshBuffer(wanted = CHUNK): Buffer {
  return Buffer.allocUnsafeSlow(Math.min(wanted, CHUNK))
}

async function* readRange(
  range: FileRange,
  nextBuffer: (wanted?: number) => Buffer,
): AsyncGenerator<Uint8Array, void, void> {
  const { path, offset = 0, length } = range
  const file = openSync(path, 'r')
  try {
    for (let at = 0; at !== length;) {
      const left = length === undefined ? undefined : length - at
      const buffer = nextBuffer(left)
      const wanted = Math.min(buffer.length, left ?? Infinity)
      const read = readSync(file, buffer, 0, wanted, offset + at)
      if (read === 0) {
        if (length === undefined) return
        throw new StoreError('ARCHIVE_TRUNCATED', `${path} ends ${length - at} bytes too early`, { path })
      }
      at += read
      yield buffer.subarray(0, read)
    }
  } finally {
    closeSync(file)
  }
}
