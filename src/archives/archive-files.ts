import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { detectCompression, DETECTION_BYTES, type Compression } from '../compression/compression.js'
import { decompress } from '../compression/decompress.js'
import { Expansion } from '../compression/expansion.js'
import { makeTemporaryDirectory } from '../durable/make-directory.js'
import { StoreError, storeError } from '../errors.js'
import type { FileRange } from '../jobs/byte-source.js'
import { limitExceeded, NO_LIMITS, type ResolvedLimits } from '../limits.js'
import { scratchFile } from './output-file.js'
import { packedFiles } from './packed-files.js'
import { fileOf, readIndex, type TarIndex } from './tar-index.js'

/** The files of an archive, where they lie: ranges of files on disk, which anybody can read when it is their turn. */
export interface ArchiveFiles extends AsyncDisposable {
  readonly names: readonly string[]
  /** Bytes of the archive while it was packed; `undefined` for one that was not. */
  readonly packedBytes?: number | undefined
  has(name: string): boolean
  /** Bytes of a file; `undefined` if there is none. */
  size(name: string): Promise<number | undefined>
  /** The name of the file that a name leads to through links. */
  target(name: string): string | undefined
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
  /** Its own; links may lead to it: see `target`. */
  readonly name: string
  readonly content: AsyncIterable<Uint8Array>
  /** Puts the content aside, for later. */
  keep(): Promise<void>
}

/** A path, or the bytes in chunks, such as a stream. */
export type ArchiveInput = string | AsyncIterable<Uint8Array>

export interface OpenArchiveOptions {
  readonly limits: ResolvedLimits
  readonly signal?: AbortSignal | undefined
}

/** Throws `TypeError` for what is neither, also for the bytes themselves. */
export function checkArchiveInput(input: ArchiveInput): void {
  if (typeof input === 'string' || Symbol.asyncIterator in Object(input)) return
  throw new TypeError(
    'an archive is given as a path, or as an async iterable of its chunks, such as a stream',
  )
}

/**
 * Opens an archive: a directory, a tar, or a packed tar. A plain tar on disk is read where it lies, and only its headers
 * now; a packed one is unpacked once for what it holds and once more for the files (`inOrder`). A stream, which comes
 * once and has its files in no known order, is put into `temporary` first.
 */
export async function openArchive(
  input: ArchiveInput,
  temporary: string,
  options: OpenArchiveOptions,
): Promise<ArchiveFiles> {
  const { limits, signal } = options
  if (typeof input !== 'string') return spooled(input, temporary, options)
  try {
    if ((await stat(input)).isDirectory()) return await directoryFiles(input, limits)
    await using handle = await open(input, 'r')
    const head = Buffer.alloc(DETECTION_BYTES)
    const { bytesRead } = await handle.read(head, 0, head.length, 0)
    if (detectCompression(head.subarray(0, bytesRead)) !== 'none') {
      return await packedFiles(input, temporary, options)
    }
    const index = await readIndex(handle, limits)
    return tarFiles({ path: input, index, limits, close: async () => undefined })
  } catch (error) {
    signal?.throwIfAborted()
    throw storeError(error, 'SYSTEM', `could not read the archive ${input}`)
  }
}

async function spooled(
  input: AsyncIterable<Uint8Array>,
  temporary: string,
  { limits, signal }: OpenArchiveOptions,
): Promise<ArchiveFiles> {
  const directory = await makeTemporaryDirectory(temporary, 'archive')
  const remove = () => rm(directory, { recursive: true, force: true })
  try {
    const path = join(directory, 'archive.tar')
    const packed = new Expansion(NO_LIMITS)
    let isPacked = false
    const onDetected = (compression: Compression) => void (isPacked = compression !== 'none')
    const output = await scratchFile(path)
    await pipeline(
      Readable.from(decompress(packed.watchInput(input), { limits, onDetected })),
      output,
      signal === undefined ? {} : { signal },
    )
    await using handle = await open(path, 'r')
    const index = await readIndex(handle, limits)
    return tarFiles({ path, index, limits, close: remove, packedBytes: isPacked ? packed.in : undefined })
  } catch (error) {
    await remove()
    signal?.throwIfAborted()
    throw storeError(error, 'SYSTEM', 'could not read the archive')
  }
}

interface TarFiles {
  readonly path: string
  readonly index: TarIndex
  readonly limits: ResolvedLimits
  readonly packedBytes?: number | undefined
  close(): Promise<void>
}

function tarFiles({ path, index, limits, packedBytes, close }: TarFiles): ArchiveFiles {
  const range = (name: string): FileRange | undefined => {
    const found = index.get(fileOf(index, name) ?? '')
    return found === undefined || 'link' in found ? undefined : { path, ...found }
  }
  return {
    names: [...index.keys()],
    packedBytes,
    has: (name) => range(name) !== undefined,
    size: async (name) => range(name)?.length,
    target: (name) => fileOf(index, name),
    range,
    read: (name) => readDocument(name, range(name), limits),
    [Symbol.asyncDispose]: close,
  }
}

async function directoryFiles(directory: string, limits: ResolvedLimits): Promise<ArchiveFiles> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const names = new Set(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(directory.length).replace(/^\/+/, '')),
  )
  const range = (name: string) => (names.has(name) ? { path: join(directory, name) } : undefined)
  return {
    names: [...names],
    has: (name) => names.has(name),
    size: async (name) => (names.has(name) ? (await stat(join(directory, name))).size : undefined),
    target: (name) => (names.has(name) ? name : undefined),
    range,
    read: (name) => readDocument(name, range(name), limits),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

async function readDocument(
  name: string,
  range: FileRange | undefined,
  { documentBytes }: ResolvedLimits,
): Promise<Buffer> {
  if (range === undefined) throw new StoreError('MANIFEST_INVALID', `the archive has no file ${name}`)
  const { path, offset = 0 } = range
  await using handle = await open(path, 'r')
  const length = range.length ?? (await handle.stat()).size
  if (length > documentBytes) throw documentTooLarge(name, length, documentBytes)
  const bytes = Buffer.alloc(length)
  const { bytesRead } = await handle.read(bytes, 0, length, offset)
  return bytes.subarray(0, bytesRead)
}

export function documentTooLarge(name: string, length: number, limit: number): StoreError {
  const what = `${name} has ${length} bytes; a manifest, an index or a config has at most ${limit}`
  return limitExceeded('documentBytes', limit, what)
}
