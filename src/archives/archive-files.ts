import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, open, readdir, readFile, rm, stat, type FileHandle } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { detectCompression, DETECTION_BYTES } from '../compression/compression.js'
import { decompress } from '../compression/decompress.js'
import { StoreError, storeError } from '../errors.js'
import { bytesToText, type ByteString } from '../fs/bytes.js'
import type { FileRange } from '../jobs/byte-source.js'
import { cleanName } from '../tar/clean-name.js'
import type { TarHeader } from '../tar/part.js'
import { TarReader } from '../tar/reader.js'
import { tarEntries } from './tar-entries.js'

const BLOCK = 512
const MAX_LINKS = 8
/** Manifests and configs are read whole; one that is larger is not one. */
const MAX_DOCUMENT = 64 << 20
/** Of a packed archive, files up to this size are taken for documents, and kept in memory, up to so much of them. */
const LARGEST_KEPT = 1 << 20
const ALL_KEPT = 16 << 20
const UNPACKED = 1 << 20

/** The files of an archive, where they lie: ranges of files on disk, which anybody can read when it is their turn. */
export interface ArchiveFiles extends AsyncDisposable {
  readonly names: readonly string[]
  has(name: string): boolean
  /** `undefined` if there is no such file, or none yet (`inOrder`). */
  range(name: string): FileRange | undefined
  /** A small file, whole. Throws `MANIFEST_INVALID` if it is not there. */
  read(name: string): Promise<Buffer>
  /**
   * Where files can be had in their order alone, once more from the beginning: a packed tar. The content of an entry may
   * be left unread. What `keep` took has a `range` from then on.
   */
  readonly inOrder?: () => AsyncIterable<OrderedFile>
}

export interface OrderedFile {
  /** As a link to it may have it, too: `is` tells. */
  is(name: string): boolean
  readonly content: AsyncIterable<Uint8Array>
  /** Puts the content aside, for later. */
  keep(): Promise<void>
}

export type ArchiveInput = string | AsyncIterable<Uint8Array>

/**
 * Opens an archive: a directory, a tar, or a packed tar. A plain tar on disk is read where it lies, and only its headers
 * now; a packed one is unpacked once for what it holds and once more for the files (`inOrder`). A stream, which comes
 * once and has its files in no known order, is put into `temporary` first.
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
    return await packedFiles(input, temporary, signal)
  } catch (error) {
    signal?.throwIfAborted()
    throw storeError(error, 'SYSTEM', `could not read the archive ${input}`)
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

async function packedFiles(
  path: string,
  temporary: string,
  signal: AbortSignal | undefined,
): Promise<ArchiveFiles> {
  const unpacked = () => tarEntries(decompress(createReadStream(path, { signal, highWaterMark: UNPACKED })))
  const index: Index = new Map()
  const documents = new Map<string, Buffer>()
  let kept = 0
  for await (const { header, content } of unpacked()) {
    addTo(index, header, 0)
    if (header.type !== 'file' || header.size > LARGEST_KEPT || kept + header.size > ALL_KEPT) continue
    const name = indexName(header.name)
    const chunks: Uint8Array[] = []
    for await (const chunk of content) chunks.push(chunk)
    documents.set(name, Buffer.concat(chunks))
    kept += header.size
  }
  const directory = await mkdtemp(join(temporary, 'archive-'))
  const aside = new Map<string, FileRange>()
  const resolved = (name: string) => fileOf(index, name)
  const inOrder = async function* (): AsyncGenerator<OrderedFile, void, void> {
    for await (const { header, content } of unpacked()) {
      if (header.type !== 'file') continue
      const own = indexName(header.name)
      const keep = async () => {
        const range = { path: join(directory, String(aside.size)) }
        await pipeline(content, createWriteStream(range.path, { flags: 'wx' }))
        aside.set(own, range)
      }
      yield { is: (name) => resolved(name) === own, content, keep }
    }
  }
  return {
    names: [...index.keys()],
    range: (name) => aside.get(resolved(name) ?? ''),
    has: (name) => resolved(name) !== undefined,
    read: async (name) => {
      const document = documents.get(resolved(name) ?? '')
      if (document !== undefined) return document
      throw new StoreError(
        'MANIFEST_INVALID',
        `the archive has no file ${name}, or none of a size that it should be`,
      )
    },
    inOrder,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
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
      addTo(index, header, position)
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

function addTo(index: Index, header: TarHeader, offset: number): void {
  const name = indexName(header.name)
  if (header.type === 'file') index.set(name, { offset, length: header.size })
  if (header.type === 'symlink') index.set(name, { link: bytesToText(header.linkName) })
}

function indexName(name: ByteString): string {
  const clean = cleanName(name)
  if (clean !== undefined) return bytesToText(clean)
  throw new StoreError('ARCHIVE_CORRUPT', `the archive has a file outside itself: ${name}`)
}

/** The name of the file that a name leads to. */
function fileOf(index: Index, name: string): string | undefined {
  let at = name
  for (let links = 0; links <= MAX_LINKS; links++) {
    const found = index.get(at)
    if (found === undefined) return undefined
    if (!('link' in found)) return at
    at = posix.join(posix.dirname(at), found.link)
  }
  return undefined
}

function tarFiles(path: string, index: Index, close: () => Promise<void>): ArchiveFiles {
  const range = (name: string): FileRange | undefined => {
    const found = index.get(fileOf(index, name) ?? '')
    return found === undefined || 'link' in found ? undefined : { path, ...found }
  }
  return {
    names: [...index.keys()],
    has: (name) => range(name) !== undefined,
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
    has: (name) => range(name) !== undefined,
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
