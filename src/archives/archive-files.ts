import { createWriteStream } from 'node:fs'
import { mkdtemp, open, readdir, readFile, rm, stat, type FileHandle } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { detectCompression, DETECTION_BYTES } from '../compression/compression.js'
import { decompress } from '../compression/decompress.js'
import { StoreError, storeError } from '../errors.js'
import { bytesToText } from '../fs/bytes.js'
import type { FileRange } from '../jobs/byte-source.js'
import { cleanName } from '../tar/clean-name.js'
import { TarReader } from '../tar/reader.js'

const BLOCK = 512
const MAX_LINKS = 8
/** Manifests and configs are read whole; one that is larger is not one. */
const MAX_DOCUMENT = 64 << 20

/** The files of an archive, where they lie: ranges of files on disk, which anybody can read when it is their turn. */
export interface ArchiveFiles extends AsyncDisposable {
  readonly names: readonly string[]
  /** `undefined` if there is no such file. */
  range(name: string): FileRange | undefined
  /** A small file, whole. Throws `MANIFEST_INVALID` if it is not there. */
  read(name: string): Promise<Buffer>
}

export type ArchiveInput = string | AsyncIterable<Uint8Array>

/**
 * Opens an archive: a directory, a tar, or a packed tar. A plain tar on disk is read where it lies, and only its headers
 * now; what is packed or comes as a stream has its files in no known order, and is put into `temporary` first.
 */
export async function openArchive(
  input: ArchiveInput,
  temporary: string,
  signal?: AbortSignal,
): Promise<ArchiveFiles> {
  if (typeof input !== 'string') return spooled(input, temporary, signal)
  const { isDirectory } = await stat(input).then(
    (stats) => ({ isDirectory: stats.isDirectory() }),
    (error: unknown) => {
      throw new StoreError('ARCHIVE_CORRUPT', `cannot open the archive ${input}`, {
        path: input,
        cause: error,
      })
    },
  )
  if (isDirectory) return directoryFiles(input)
  const handle = await open(input, 'r')
  try {
    const head = Buffer.alloc(DETECTION_BYTES)
    const { bytesRead } = await handle.read(head, 0, head.length, 0)
    if (detectCompression(head.subarray(0, bytesRead)) === 'none') {
      return tarFiles(input, await indexOf(handle), async () => undefined)
    }
    return await spooled(handle.createReadStream({ autoClose: false, start: 0 }), temporary, signal)
  } finally {
    await handle.close()
  }
}

async function spooled(
  input: AsyncIterable<Uint8Array>,
  temporary: string,
  signal: AbortSignal | undefined,
): Promise<ArchiveFiles> {
  const directory = await mkdtemp(join(temporary, 'archive-'))
  const remove = () => rm(directory, { recursive: true, force: true })
  try {
    const path = join(directory, 'archive.tar')
    await pipeline(
      Readable.from(decompress(input)),
      createWriteStream(path),
      signal === undefined ? {} : { signal },
    )
    const handle = await open(path, 'r')
    try {
      return tarFiles(path, await indexOf(handle), remove)
    } finally {
      await handle.close()
    }
  } catch (error) {
    await remove()
    signal?.throwIfAborted()
    throw storeError(error, 'SYSTEM', 'could not read the archive')
  }
}

type Index = Map<string, { readonly offset: number; readonly length: number } | { readonly link: string }>

/** Where each file of the tar lies. Contents are passed over. */
async function indexOf(handle: FileHandle): Promise<Index> {
  const index: Index = new Map()
  const reader = new TarReader()
  const { size } = await handle.stat()
  const block = Buffer.alloc(BLOCK)
  for (let position = 0; position < size;) {
    const wanted = BLOCK - (position % BLOCK)
    const { bytesRead } = await handle.read(block, 0, wanted, position)
    position += bytesRead
    for (const part of reader.push(Buffer.from(block.subarray(0, bytesRead)))) {
      if (part.type !== 'header') continue
      const { header } = part
      const name = cleanName(header.name)
      if (name === undefined)
        throw new StoreError('ARCHIVE_CORRUPT', `the archive has a file outside itself: ${header.name}`)
      if (header.type === 'file') index.set(bytesToText(name), { offset: position, length: header.size })
      if (header.type === 'symlink') index.set(bytesToText(name), { link: bytesToText(header.linkName) })
      if (position + header.size > size) {
        throw new StoreError('ARCHIVE_TRUNCATED', `the archive breaks off in ${bytesToText(header.name)}`)
      }
      reader.skipContent(header.size)
      position += header.size
    }
    if (bytesRead === 0) break
  }
  for (const _part of reader.end());
  return index
}

function tarFiles(path: string, index: Index, close: () => Promise<void>): ArchiveFiles {
  const range = (name: string): FileRange | undefined => {
    let at = name
    for (let links = 0; links <= MAX_LINKS; links++) {
      const found = index.get(at)
      if (found === undefined) return undefined
      if (!('link' in found)) return { path, ...found }
      at = posix.join(posix.dirname(at), found.link)
    }
    return undefined
  }
  return {
    names: [...index.keys()],
    range,
    read: (name) => readDocument(name, range(name)),
    [Symbol.asyncDispose]: close,
  }
}

async function directoryFiles(directory: string): Promise<ArchiveFiles> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const names = new Set(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(directory.length).replace(/^\/+/, '')),
  )
  const range = (name: string) => (names.has(name) ? { path: join(directory, name) } : undefined)
  return {
    names: [...names],
    range,
    read: (name) => readDocument(name, range(name)),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

async function readDocument(name: string, range: FileRange | undefined): Promise<Buffer> {
  if (range === undefined) throw new StoreError('MANIFEST_INVALID', `the archive has no file ${name}`)
  const { path, offset = 0, length } = range
  if ((length ?? 0) > MAX_DOCUMENT)
    throw new StoreError('MANIFEST_INVALID', `${name} is too large for what it should be`)
  if (length === undefined) return readFile(path)
  const handle = await open(path, 'r')
  try {
    const bytes = Buffer.alloc(length)
    const { bytesRead } = await handle.read(bytes, 0, length, offset)
    return bytes.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}
