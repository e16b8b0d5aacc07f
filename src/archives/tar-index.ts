import type { FileHandle } from 'node:fs/promises'
import { posix } from 'node:path'
import { StoreError } from '../errors.js'
import { bytesToText, type ByteString } from '../fs/bytes.js'
import type { ResolvedLimits } from '../limits.js'
import { cleanName } from '../tar/clean-name.js'
import type { TarHeader } from '../tar/part.js'
import { TarReader } from '../tar/reader.js'

const BLOCK = 512
const MAX_LINKS = 8
/** Bytes of all names and links of an archive, which stay in memory. */
const MAX_NAMES = 64 << 20

/** The position of each file in a tar, and the targets of links. */
export type TarIndex = Map<
  string,
  { readonly offset: number; readonly length: number } | { readonly link: string }
>

/** Reads the headers and skips the contents. */
export async function readIndex(handle: FileHandle, limits: ResolvedLimits): Promise<TarIndex> {
  const index: TarIndex = new Map()
  const reader = new TarReader(limits)
  const names = new NameBudget()
  const { size } = await handle.stat()
  const block = Buffer.alloc(BLOCK)
  for (let position = 0; position < size;) {
    const wanted = BLOCK - (position % BLOCK)
    const { bytesRead } = await handle.read(block, 0, wanted, position)
    position += bytesRead
    for (const part of reader.push(Buffer.from(block.subarray(0, bytesRead)))) {
      if (part.type !== 'header') continue
      const { header } = part
      names.take(header)
      addToIndex(index, header, position)
      if (position + header.size > size) {
        throw new StoreError('ARCHIVE_TRUNCATED', `the archive ends inside ${bytesToText(header.name)}`)
      }
      reader.skipContent(header.size)
      position += header.size
    }
    if (bytesRead === 0) break
  }
  for (const _part of reader.end());
  return index
}

/** Bounds the memory of an index. */
export class NameBudget {
  #left = MAX_NAMES

  take({ name, linkName }: TarHeader): void {
    this.#left -= name.length + linkName.length
    if (this.#left >= 0) return
    throw new StoreError(
      'LIMIT_EXCEEDED',
      `limit exceeded: the names in the archive exceed ${MAX_NAMES} bytes in total`,
      { hint: 'no option raises this limit: an archive has one file per layer and image' },
    )
  }
}

/** @param offset of the content, if the file can be read at an offset */
export function addToIndex(index: TarIndex, header: TarHeader, offset = 0): void {
  const name = indexName(header.name)
  if (header.type === 'file') index.set(name, { offset, length: header.size })
  if (header.type === 'symlink') index.set(name, { link: bytesToText(header.linkName) })
  if (header.type === 'link') {
    index.set(name, { link: posix.relative(posix.dirname(name), indexName(header.linkName)) })
  }
}

/** Throws `ARCHIVE_CORRUPT` if the name leads outside the archive. */
export function indexName(name: ByteString): string {
  const clean = cleanName(name)
  if (clean !== undefined) return bytesToText(clean)
  throw new StoreError('ARCHIVE_CORRUPT', `the name of a file leads outside the archive: ${name}`)
}

/** Returns the name of the file that `name` leads to. */
export function fileOf(index: TarIndex, name: string): string | undefined {
  let at = name
  for (let links = 0; links <= MAX_LINKS; links++) {
    const found = index.get(at)
    if (found === undefined) return undefined
    if (!('link' in found)) return at
    at = posix.join(posix.dirname(at), found.link)
  }
  return undefined
}
