import { toBytes, type ByteString } from '../fs/bytes.js'
import { encodeHeader, END_OF_TAR, paddingOf } from '../tar/encode.js'
import type { TarEntryType, TarHeader } from '../tar/part.js'

/**
 * An entry of a layer's tar, as data. Omitted fields are as in a plain tar: root's, 0755 for a directory or 0644, with
 * a time in 2001.
 */
export interface TarEntry {
  readonly name: string
  /** @default 'file', or 'directory' for a name that ends in a slash */
  readonly type?: TarEntryType
  readonly content?: string
  readonly linkName?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtimeNs?: bigint
  readonly device?: { readonly major: number; readonly minor: number }
  /** Values are bytes, one per character. */
  readonly xattrs?: Readonly<Record<string, string>>
}

/** A time in whole seconds of 2001, which no clock produces now. */
export const THEN = 1_000_000_000_000_000_000n

export function tarOf(entries: readonly TarEntry[]): Buffer {
  const pieces: Uint8Array[] = []
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? '')
    pieces.push(encodeHeader(headerOf(entry, content.length)), content, paddingOf(content.length))
  }
  return Buffer.concat([...pieces, END_OF_TAR])
}

/** Yields the bytes in chunks of an odd size, as a stream may. */
export async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.subarray(at, at + CHUNK)
}

function headerOf(entry: TarEntry, size: number): TarHeader {
  const type = entry.type ?? (entry.name.endsWith('/') ? 'directory' : 'file')
  return {
    name: toBytes(entry.name),
    type,
    mode: entry.mode ?? (type === 'directory' ? 0o755 : 0o644),
    uid: entry.uid ?? 0,
    gid: entry.gid ?? 0,
    userName: NOTHING,
    groupName: NOTHING,
    size,
    mtimeNs: entry.mtimeNs ?? THEN,
    linkName: toBytes(entry.linkName ?? ''),
    device: entry.device ?? { major: 0, minor: 0 },
    xattrs: new Map(
      Object.entries(entry.xattrs ?? {}).map(([name, value]) => [
        toBytes(name),
        Buffer.from(value, 'latin1'),
      ]),
    ),
  }
}

const NOTHING = '' as ByteString
const CHUNK = 10_007
