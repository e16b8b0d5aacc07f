import { constants, createReadStream, read as readWithCallback } from 'node:fs'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { createGunzip } from 'node:zlib'
import { StoreError } from '../errors.js'
import type { ByteString } from '../fs/bytes.js'
import type { RawFile, RawFs } from '../fs/raw-fs.js'
import { cleanName } from './clean-name.js'
import { Crc64 } from './crc64.js'
import type { TarPart } from './part.js'
import { TarReader } from './reader.js'
import { parseLine, type SplitEntry } from './split-entry.js'

const read = promisify(readWithCallback)
const CHUNK = 256 * 1024
/** Reading so little takes less time on this thread than another thread takes to answer. */
const SMALL = 64 * 1024

/**
 * The layer's tar, byte for byte as it came: what tar-split wrote down, and the content of the layer's files. A file
 * whose checksum has changed is `STORE_CORRUPT`.
 */
export async function* assemble(splitFile: string, contents: RawFs): AsyncGenerator<Uint8Array, void, void> {
  const crc = await Crc64.load()
  let gathered: Uint8Array[] = []
  let size = 0
  for await (const entry of readTarSplit(splitFile)) {
    for await (const bytes of bytesOf(entry, contents, crc)) {
      gathered.push(bytes)
      size += bytes.length
      if (size < CHUNK) continue
      yield gathered.length === 1 ? bytes : Buffer.concat(gathered)
      gathered = []
      size = 0
    }
  }
  if (size > 0) yield Buffer.concat(gathered)
}

/** The headers of a layer's tar, in order; no content is read. */
export async function* splitHeaders(
  splitFile: string,
): AsyncGenerator<TarPart & { type: 'header' }, void, void> {
  const reader = new TarReader()
  for await (const entry of readTarSplit(splitFile)) {
    if (entry.type === 'file') {
      reader.skipContent(entry.size)
      continue
    }
    for (const part of reader.push(entry.bytes)) if (part.type === 'header') yield part
  }
}

export async function* readTarSplit(file: string): AsyncGenerator<SplitEntry, void, void> {
  const source = createReadStream(file)
  const unzipped = createGunzip()
  source.once('error', (error) => unzipped.destroy(error))
  const lines = createInterface({ input: source.pipe(unzipped), crlfDelay: Number.POSITIVE_INFINITY })
  try {
    for await (const line of lines) if (line !== '') yield parseLine(line)
  } catch (error) {
    throw new StoreError('STORE_CORRUPT', `${file} is not a tar-split file`, { path: file, cause: error })
  } finally {
    source.destroy()
  }
}

async function* bytesOf(
  entry: SplitEntry,
  contents: RawFs,
  crc: Crc64,
): AsyncGenerator<Uint8Array, void, void> {
  if (entry.type === 'segment') {
    yield entry.bytes
    return
  }
  if (entry.size === 0) return
  const path = cleanName(entry.name) ?? entry.name
  const file = open(contents, path)
  try {
    yield* checkedContent(file, path, entry.size, entry.checksum, crc)
  } finally {
    file.close()
  }
}

function open(contents: RawFs, path: ByteString): RawFile {
  try {
    return contents.open(path, constants.O_RDONLY)
  } catch (error) {
    throw corrupt(path, 'it cannot be opened', error)
  }
}

async function* checkedContent(
  file: RawFile,
  path: ByteString,
  size: number,
  checksum: Buffer | undefined,
  crc: Crc64,
): AsyncGenerator<Uint8Array, void, void> {
  crc.begin()
  for (let position = 0; position < size;) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK, size - position))
    const count = await readSome(file, buffer, position)
    if (count === 0) throw corrupt(path, `it has ${position} bytes, not ${size}`)
    const bytes = buffer.subarray(0, count)
    crc.update(bytes)
    yield bytes
    position += count
  }
  if (checksum !== undefined && !crc.digest().equals(checksum)) throw corrupt(path, 'its content has changed')
}

async function readSome(file: RawFile, buffer: Buffer, position: number): Promise<number> {
  if (file.fd === undefined || buffer.length <= SMALL) return file.read(buffer, position)
  return (await read(file.fd, buffer, 0, buffer.length, position)).bytesRead
}

function corrupt(path: ByteString, why: string, cause?: unknown): StoreError {
  return new StoreError('STORE_CORRUPT', `a file of the layer is damaged: ${path}: ${why}`, { path, cause })
}

/** How long the layer's tar is; no content is read. */
export async function tarSizeOf(splitFile: string): Promise<number> {
  let size = 0
  for await (const entry of readTarSplit(splitFile))
    size += entry.type === 'file' ? entry.size : entry.bytes.length
  return size
}
