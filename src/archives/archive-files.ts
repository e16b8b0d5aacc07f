import { open } from 'node:fs/promises'
import { StoreError } from '../errors.js'
import type { FileRange } from '../jobs/work/byte-source.js'
import { limitExceeded, type ResolvedLimits } from '../limits.js'

/** The files of an archive as ranges of files on disk, which any thread can open and read later. */
export interface ArchiveFiles extends AsyncDisposable {
  readonly names: readonly string[]
  /** Bytes of the compressed archive; `undefined` if it was not compressed. */
  readonly packedBytes?: number | undefined
  has(name: string): boolean
  /** Bytes of a file; `undefined` if it does not exist. */
  size(name: string): Promise<number | undefined>
  /** Resolves links: returns the name of the file that `name` leads to. */
  target(name: string): string | undefined
  /** Returns `undefined` if the file does not exist, or is not available yet (see `inOrder`). */
  range(name: string): FileRange | undefined
  /** Reads a small file. Throws `MANIFEST_INVALID` if it does not exist. */
  read(name: string): Promise<Buffer>
  /**
   * Present if the files are available only in order, as in a compressed tar. Each call starts again from the
   * beginning. The content of an entry may be left unread. Files that were saved with `keep` have a `range` from then
   * on.
   */
  readonly inOrder?: () => AsyncIterable<OrderedFile>
}

export interface OrderedFile {
  /** The entry's own name. Links may lead to it: see `target`. */
  readonly name: string
  readonly content: AsyncIterable<Uint8Array>
  /** Saves the content to a file for later use. */
  keep(): Promise<void>
}

/** A path, or the bytes in chunks, such as a stream. */
export type ArchiveInput = string | AsyncIterable<Uint8Array>

export interface OpenArchiveOptions {
  readonly limits: ResolvedLimits
  readonly signal?: AbortSignal | undefined
}

/** Throws `TypeError` unless the input is a path or an async iterable; the bytes themselves are neither. */
export function checkArchiveInput(input: ArchiveInput): void {
  if (typeof input === 'string' || Symbol.asyncIterator in Object(input)) return
  throw new TypeError('the archive must be a path, or an async iterable of its chunks, such as a stream')
}

/** Throws `MANIFEST_INVALID` without a range, and `LIMIT_EXCEEDED` if the file is larger than a document may be. */
export async function readDocument(
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
  const what = `${name} has ${length} bytes, more than the ${limit} allowed for a manifest, an index or a config`
  return limitExceeded('documentBytes', limit, what)
}
