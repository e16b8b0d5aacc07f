import { open } from 'node:fs/promises'
import { StoreError } from '../errors.js'
import type { FileRange } from '../jobs/work/byte-source.js'
import { limitExceeded, type ResolvedLimits } from '../limits.js'

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

/** Throws `MANIFEST_INVALID` without a range, and `LIMIT_EXCEEDED` for a file that is larger than a document may be. */
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
  const what = `${name} has ${length} bytes; a manifest, an index or a config has at most ${limit}`
  return limitExceeded('documentBytes', limit, what)
}
