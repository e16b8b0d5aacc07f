import type { ByteString } from '../fs/bytes.js'
import type { DeviceNumber } from '../fs/sync-fs.js'

/**
 * A tar, taken apart. Every byte of it is in exactly one part and the parts stand in order, so that
 *
 *     concat(parts.map((part) => part.bytes)) = the tar
 *
 * holds for what the reader makes of bytes and for what the writer makes of a tree alike. Hash, tar-split and apply all
 * take parts; that is how a load or a commit is one pass.
 */
export type TarPart =
  /** One entry begins: its extension headers (PAX, GNU long names) and its header block. */
  | { readonly type: 'header'; readonly header: TarHeader; readonly bytes: Uint8Array }
  /** A piece of the entry's content; the pieces add up to `header.size`. */
  | { readonly type: 'content'; readonly bytes: Uint8Array }
  /** What is neither: padding after content, global headers, the end marker and whatever follows it. */
  | { readonly type: 'filler'; readonly bytes: Uint8Array }

/** What a record of the tar keeps of a part. */
export type RecordedPart =
  | {
      readonly type: 'header'
      readonly header: Pick<TarHeader, 'name' | 'size'>
      readonly bytes: Uint8Array
    }
  | Exclude<TarPart, { readonly type: 'header' }>

export type TarEntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo' | 'unknown'

export interface TarHeader {
  /** As it stands in the archive, neither cleaned nor checked. */
  readonly name: ByteString
  /** `unknown`: a typeflag that no rule covers; its content is skipped. */
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
  /** From PAX, where it says so. */
  readonly atimeNs?: bigint
  /** Target of a symlink, or name of the entry that a hard link repeats; else empty. */
  readonly linkName: ByteString
  readonly device: DeviceNumber
  /** From `SCHILY.xattr.*`: values are bytes. */
  readonly xattrs: ReadonlyMap<ByteString, Buffer>
  /** GNU sparse files: the content in the archive is `pieces` of a file of `size` bytes, one after the other. */
  readonly sparse?: {
    readonly size: number
    readonly pieces: readonly { offset: number; length: number }[]
    /** The pieces are told at the head of the content (PAX sparse 1.0). */
    readonly mapInContent: boolean
  }
}
