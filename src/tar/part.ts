import type { ByteString } from '../fs/bytes.js'
import type { DeviceNumber } from '../fs/sync-fs.js'

/**
 * A part of a tar. Every byte of the tar is in exactly one part and the parts are in order, so
 *
 *     concat(parts.map((part) => part.bytes)) = the tar
 *
 * This holds for the parts that the reader parses and for those that the writer makes of a tree. Hashing, tar-split and
 * applying all consume parts, so a load or a commit is one pass.
 */
export type TarPart =
  /** The start of an entry: its extension headers (PAX, GNU long names) and its header block. */
  | { readonly type: 'header'; readonly header: TarHeader; readonly bytes: Uint8Array }
  /** A piece of the entry's content; the pieces add up to `header.size`. */
  | { readonly type: 'content'; readonly bytes: Uint8Array }
  /** Everything else: padding after content, global headers, the end marker and whatever follows it. */
  | { readonly type: 'filler'; readonly bytes: Uint8Array }

/** The fields of a part that a record of the tar needs. */
export type RecordedPart =
  | {
      readonly type: 'header'
      readonly header: Pick<TarHeader, 'name' | 'size'>
      readonly bytes: Uint8Array
    }
  | Exclude<TarPart, { readonly type: 'header' }>

export type TarEntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo' | 'unknown'

export interface TarHeader {
  /** As in the archive, neither cleaned nor checked. */
  readonly name: ByteString
  /** `unknown`: a typeflag that no rule covers. Its content is skipped. */
  readonly type: TarEntryType
  /** The twelve permission bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly userName: ByteString
  readonly groupName: ByteString
  /** Bytes of content that follow in the archive. */
  readonly size: number
  readonly mtimeNs: bigint
  /** From PAX, if present. */
  readonly atimeNs?: bigint
  /** Target of a symlink, or name of the entry that a hard link points to; else empty. */
  readonly linkName: ByteString
  readonly device: DeviceNumber
  /** From `SCHILY.xattr.*` or `LIBARCHIVE.xattr.*`. Values are bytes. */
  readonly xattrs: ReadonlyMap<ByteString, Buffer>
  /** GNU sparse files: the archive's content is the `pieces` of a file of `size` bytes, one after the other. */
  readonly sparse?: {
    readonly size: number
    readonly pieces: readonly { offset: number; length: number }[]
    /** Whether the map of the pieces is at the start of the content (PAX sparse 1.0). */
    readonly mapInContent: boolean
  }
}
