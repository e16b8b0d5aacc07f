import { createReadStream, createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { decompress } from '../compression/decompress.js'
import { makeTemporaryDirectory } from '../durable/make-directory.js'
import { StoreError } from '../errors.js'
import type { FileRange } from '../jobs/byte-source.js'
import type { ArchiveFiles, OrderedFile } from './archive-files.js'
import { tarEntries } from './tar-entries.js'
import { addToIndex, fileOf, indexName, type TarIndex } from './tar-index.js'

/** Files up to this size are taken for documents, and kept in memory, up to so much of them. */
const LARGEST_KEPT = 1 << 20
const ALL_KEPT = 16 << 20
const UNPACKED = 1 << 20

/** A packed tar on disk: unpacked once for its names and documents, and once more for each `inOrder`. */
export async function packedFiles(
  path: string,
  temporary: string,
  signal: AbortSignal | undefined,
): Promise<ArchiveFiles> {
  const unpacked = () => tarEntries(decompress(createReadStream(path, { signal, highWaterMark: UNPACKED })))
  const index: TarIndex = new Map()
  const documents = new Map<string, Buffer>()
  let kept = 0
  for await (const { header, content } of unpacked()) {
    addToIndex(index, header)
    if (header.type !== 'file' || header.size > LARGEST_KEPT || kept + header.size > ALL_KEPT) continue
    const name = indexName(header.name)
    const chunks: Uint8Array[] = []
    for await (const chunk of content) chunks.push(chunk)
    documents.set(name, Buffer.concat(chunks))
    kept += header.size
  }
  const directory = await makeTemporaryDirectory(temporary, 'archive')
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
    size: async (name) => {
      const found = index.get(resolved(name) ?? '')
      return found === undefined || 'link' in found ? undefined : found.length
    },
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
