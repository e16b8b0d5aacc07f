import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { detectCompression, DETECTION_BYTES, type Compression } from '../compression/compression.js'
import { decompress } from '../compression/decompress.js'
import { Expansion } from '../compression/expansion.js'
import { makeTemporaryDirectory } from '../durable/make-directory.js'
import { storeError } from '../errors.js'
import type { FileRange } from '../jobs/work/byte-source.js'
import { NO_LIMITS, type ResolvedLimits } from '../limits.js'
import { scratchFile } from './output-file.js'
import { packedFiles } from './packed-files.js'
import { fileOf, readIndex, type TarIndex } from './tar-index.js'

import {
  readDocument,
  type ArchiveFiles,
  type ArchiveInput,
  type OpenArchiveOptions,
} from './archive-files.js'

/**
 * Opens an archive: a directory, a tar, or a compressed tar. A plain tar on disk is read in place; opening it reads
 * only its headers. A compressed tar is decompressed once for its names and documents, and again for the files
 * (`inOrder`). A stream comes only once, with its files in unknown order, so it is first written to `temporary`.
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
