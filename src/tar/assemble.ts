import { constants, createReadStream, read as readWithCallback } from 'node:fs'
import { pipeline } from 'node:stream'
import { promisify } from 'node:util'
import { createGunzip } from 'node:zlib'
import { isErrno, StoreError } from '../errors.js'
import { bytesToBuffer, type ByteString } from '../fs/bytes.js'
import { damagedFile } from '../fs/damaged-file.js'
import type { SyncFile, SyncFs } from '../fs/sync-fs.js'
import { resolve } from '../fs/resolve.js'
import { yieldIfDue } from '../event-loop.js'
import { ChunkPool } from './chunk-pool.js'
import { cleanName } from './clean-name.js'
import { Crc64 } from './crc64.js'
import type { TarPart } from './part.js'
import { TarReader } from './reader.js'
import { NEWLINE, parseLines, type SplitEntry } from './split-entry.js'

const read = promisify(readWithCallback)
const CHUNK = 256 * 1024
/** Reads up to this size are faster on this thread than on the thread pool. */
const SMALL = 64 * 1024

/** Receives the pieces of an assembly, in order. */
export interface AssemblyObserver {
  /** Bytes of the tar that no file holds: headers, padding, and content that the layer's files cannot reproduce. */
  segment(bytes: Uint8Array): void
  /** Content of an entry that a file holds. */
  content(size: number): void
}

/**
 * Yields the layer's tar, byte for byte as it was received: the bytes in its tar-split and the content of its files.
 * Rejects with `STORE_CORRUPT` if a file does not match its checksum. Callers may return chunks with `giveBack`.
 */
export async function* assemble(
  splitFile: string,
  contents: SyncFs,
  observer?: AssemblyObserver,
): AsyncGenerator<Uint8Array, void, void> {
  const crc = await Crc64.load()
  const scratch = Buffer.allocUnsafeSlow(CHUNK)
  const pool = new ChunkPool(CHUNK)
  let chunk = pool.take()
  let used = 0
  /** Appends the bytes, and returns the chunks that this fills. */
  const packed = (bytes: Uint8Array): readonly Buffer[] => {
    const full: Buffer[] = []
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + CHUNK - used)
      chunk.set(piece, used)
      used += piece.length
      at += piece.length
      if (used < CHUNK) continue
      full.push(chunk)
      chunk = pool.take()
      used = 0
    }
    return full
  }
  for await (const entries of readTarSplit(splitFile)) {
    for (const entry of entries) {
      if (entry.type === 'segment') {
        observer?.segment(entry.bytes)
        for (const full of packed(entry.bytes)) yield full
      } else {
        observer?.content(entry.size)
        for await (const bytes of contentOf(entry, contents, crc, scratch))
          for (const full of packed(bytes)) yield full
      }
    }
  }
  if (used > 0) yield chunk.subarray(0, used)
}

/** Yields the headers of a layer's tar in order, in batches. Reads no content. */
export async function* splitHeaders(
  splitFile: string,
): AsyncGenerator<readonly (TarPart & { type: 'header' })[], void, void> {
  const reader = new TarReader()
  try {
    for await (const entries of readTarSplit(splitFile)) {
      const headers: (TarPart & { type: 'header' })[] = []
      for (const entry of entries) {
        if (entry.type === 'file') reader.skipContent(entry.size)
        else for (const part of reader.push(entry.bytes)) if (part.type === 'header') headers.push(part)
      }
      yield headers
    }
    for (const part of reader.end()) if (part.type === 'header') yield [part]
  } catch (error) {
    throw notTarSplit(splitFile, error)
  }
}

/** Yields entries in batches, one for each read: awaiting an entry costs as much as parsing it. */
async function* readTarSplit(file: string): AsyncGenerator<readonly SplitEntry[], void, void> {
  const source = createReadStream(file)
  // An error in either stream reaches the reader of the last.
  const unzipped = pipeline(source, createGunzip({ chunkSize: CHUNK }), () => undefined)
  try {
    for await (const lines of linesOf(unzipped)) yield parseLines(lines)
  } catch (error) {
    throw notTarSplit(file, error)
  } finally {
    source.destroy()
  }
}

/** Yields whole lines, in batches. A line that spans chunks is yielded alone. */
async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  let begun: Buffer[] = []
  for await (const chunk of chunks) {
    const first = begun.length > 0 ? chunk.indexOf(NEWLINE) + 1 : 0
    const end = chunk.lastIndexOf(NEWLINE) + 1
    if (first > 0) {
      yield Buffer.concat([...begun, chunk.subarray(0, first)])
      begun = []
    }
    if (end > first) yield chunk.subarray(first, end)
    if (end < chunk.length) begun.push(chunk.subarray(end))
  }
  yield Buffer.concat(begun)
}

/** Each chunk is valid until the next is requested. */
async function* contentOf(
  entry: SplitEntry & { type: 'file' },
  contents: SyncFs,
  crc: Crc64,
  scratch: Buffer,
): AsyncGenerator<Uint8Array, void, void> {
  if (entry.size === 0) return
  const path = cleanName(entry.name)
  if (path === undefined) throw damagedFile(entry.name, 'its path leads outside the layer')
  const file = open(contents, path)
  try {
    yield* checkedContent(file, path, entry, crc, scratch)
  } finally {
    file.close()
  }
}

/** The path may lead through a symlink of the layer. The file is then at the symlink's target. */
function open(contents: SyncFs, path: ByteString): SyncFile {
  try {
    return contents.open(path, constants.O_RDONLY)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw damagedFile(path, 'it cannot be opened', error)
  }
  try {
    return contents.open(resolve(contents, bytesToBuffer(path), true, 'open').path, constants.O_RDONLY)
  } catch (error) {
    throw damagedFile(path, 'it cannot be opened', error)
  }
}

async function* checkedContent(
  file: SyncFile,
  path: ByteString,
  { size, checksum }: SplitEntry & { type: 'file' },
  crc: Crc64,
  scratch: Buffer,
): AsyncGenerator<Uint8Array, void, void> {
  crc.begin()
  for (let position = 0; position < size;) {
    const buffer = scratch.subarray(0, size - position)
    const count = await readSome(file, buffer, position)
    if (count === 0) throw damagedFile(path, `it has ${position} bytes, not ${size}`)
    const bytes = buffer.subarray(0, count)
    crc.update(bytes)
    yield bytes
    position += count
  }
  if (checksum !== undefined && !crc.digest().equals(checksum))
    throw damagedFile(path, 'its content has changed')
}

async function readSome(file: SyncFile, buffer: Buffer, position: number): Promise<number> {
  // Without a descriptor the thread pool cannot read it, so this thread must yield to its event loop.
  const turn = file.fd === undefined ? yieldIfDue() : undefined
  if (turn !== undefined) await turn
  if (file.fd === undefined || buffer.length <= SMALL) return file.read(buffer, position)
  return (await read(file.fd, buffer, 0, buffer.length, position)).bytesRead
}

function notTarSplit(file: string, cause: unknown): unknown {
  if (cause instanceof StoreError && cause.code === 'STORE_CORRUPT') return cause
  return new StoreError('STORE_CORRUPT', `${file} is not a tar-split file`, {
    path: file,
    cause,
    hint: 'check({ repair: true, from }) rebuilds the layer from an archive of its image',
  })
}

/** Returns the length of the layer's tar in bytes. Reads no content. */
export async function tarSizeOf(splitFile: string): Promise<number> {
  let size = 0
  for await (const entries of readTarSplit(splitFile))
    for (const entry of entries) size += entry.type === 'file' ? entry.size : entry.bytes.length
  return size
}
