import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { StoreError } from '../../errors.js'

/** The source of a layer's bytes. */
export type ByteSource = FileRange | ChunkSource

/** A range of a file. The thread that does the job reads it. */
export interface FileRange {
  readonly path: string
  /** @default 0 */
  readonly offset?: number
  /** @default up to the end of the file */
  readonly length?: number
}

/** The rest of a stream. It is read to its end, or closed by `return()` if the job fails. */
interface ChunkSource {
  readonly chunks: AsyncIterable<Uint8Array>
}

const CHUNK = 1 << 19

/** Bytes of the source as stored; `undefined` for a stream. */
export function lengthOf(source: ByteSource): number | undefined {
  if ('chunks' in source) return undefined
  return source.length ?? statSync(source.path).size - (source.offset ?? 0)
}

/**
 * Reads synchronously, for a worker thread or for one chunk at a time between other work.
 * @param buffer returns the buffer for the next chunk of a file; by default a new one
 */
export function bytesOf(
  source: ByteSource,
  buffer: (wanted?: number) => Buffer = freshBuffer,
): AsyncIterable<Uint8Array> {
  return 'chunks' in source ? source.chunks : readRange(source, buffer)
}

/** Allocates a buffer of at most one chunk. */
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
        throw new StoreError('ARCHIVE_TRUNCATED', `${path} is truncated: ${length - at} bytes are missing`, {
          path,
        })
      }
      at += read
      yield buffer.subarray(0, read)
    }
  } finally {
    closeSync(file)
  }
}
