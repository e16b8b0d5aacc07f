import { createReadStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { decompress } from '../compression/decompress.js'
import { makeTemporaryDirectory } from '../durable/make-directory.js'
import { StoreError, storeError } from '../errors.js'
import type { FileRange } from '../jobs/work/byte-source.js'
import { limitExceeded } from '../limits.js'
import type { ArchiveFiles, OpenArchiveOptions, OrderedFile } from './archive-files.js'
import { scratchFile } from './output-file.js'
import { tarEntries } from './tar-entries.js'
import { addToIndex, fileOf, indexName, NameBudget, type TarIndex } from './tar-index.js'

/** All documents kept in memory may have this many times the bytes of the largest. */
const MANY = 8
const UNPACKED = 1 << 20

/** A compressed tar on disk: decompressed once for its names and documents, and again for each `inOrder`. */
export async function packedFiles(
  path: string,
  temporary: string,
  { limits, signal }: OpenArchiveOptions,
): Promise<ArchiveFiles> {
  const packedBytes = (await stat(path)).size
  const unpacked = () => {
    const packed = createReadStream(path, { signal, highWaterMark: UNPACKED })
    return tarEntries(decompress(packed, { limits, packedBytes }), limits)
  }
  const names = new NameBudget()
  const index: TarIndex = new Map()
  const documents = new Map<string, Buffer>()
  let kept = 0
  for await (const { header, content } of unpacked()) {
    names.take(header)
    addToIndex(index, header)
    const { documentBytes } = limits
    if (header.type !== 'file' || header.size > documentBytes) continue
    const document = await readDocument(content)
    if (document === undefined) continue
    kept += document.length
    if (kept > MANY * documentBytes) {
      const what = `the archive contains more than ${MANY * documentBytes} bytes of JSON`
      throw limitExceeded('documentBytes', documentBytes, what)
    }
    documents.set(indexName(header.name), document)
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
        try {
          const output = await scratchFile(range.path)
          await pipeline(content, output)
        } catch (error) {
          throw storeError(error, 'SYSTEM', `could not copy ${own} out of the archive`)
        }
        aside.set(own, range)
      }
      yield { name: own, content, keep }
    }
  }
  return {
    names: [...index.keys()],
    packedBytes,
    target: resolved,
    range: (name) => aside.get(resolved(name) ?? ''),
    has: (name) => resolved(name) !== undefined,
    size: async (name) => {
      const found = index.get(resolved(name) ?? '')
      return found === undefined || 'link' in found ? undefined : found.length
    },
    read: async (name) => {
      const document = documents.get(resolved(name) ?? '')
      if (document !== undefined) return document
      throw new StoreError('MANIFEST_INVALID', `the archive has no JSON file ${name}`)
    },
    inOrder,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  }
}

/** Returns the content of a JSON file. Returns `undefined` for any other file, without reading it to its end. */
async function readDocument(content: AsyncIterable<Uint8Array>): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  for await (const chunk of content) {
    if (chunks.length === 0 && !/^\s*[[{]/.test(Buffer.from(chunk.subarray(0, 64)).toString('latin1'))) {
      return undefined
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
