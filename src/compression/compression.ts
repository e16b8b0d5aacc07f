import { StoreError } from '../errors.js'

/** How a layer or an archive is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd'

/** Bytes from the beginning that {@link detectCompression} needs to be sure. */
export const DETECTION_BYTES = 512

const GZIP = [0x1f, 0x8b]
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd]
const UNSUPPORTED: readonly (readonly [name: string, magic: readonly number[]])[] = [
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lz4', [0x04, 0x22, 0x4d, 0x18]],
  ['lzip', [0x4c, 0x5a, 0x49, 0x50]],
  ['compress', [0x1f, 0x9d]],
]
const TAR_MAGIC = [0x75, 0x73, 0x74, 0x61, 0x72]
const TAR_MAGIC_OFFSET = 257

/**
 * Detects the compression by the first bytes; `none` if they have no known magic. The tar magic is checked first, so
 * that the name of the first entry can be anything. Throws `ARCHIVE_UNSUPPORTED` for a known compression without
 * support.
 */
export function detectCompression(head: Uint8Array): Compression {
  if (hasAt(head, TAR_MAGIC_OFFSET, TAR_MAGIC)) return 'none'
  if (hasAt(head, 0, GZIP)) return 'gzip'
  if (hasAt(head, 0, ZSTD) || isSkippableFrame(head)) return 'zstd'
  for (const [name, magic] of UNSUPPORTED) {
    if (hasAt(head, 0, magic)) {
      throw new StoreError(
        'ARCHIVE_UNSUPPORTED',
        `the input is compressed with ${name}, which is not supported`,
        {
          hint: `decompress it with ${name} first, or compress it with gzip or zstd`,
        },
      )
    }
  }
  return 'none'
}

/** zstd files may begin with a skippable frame of user data: magic 0x184D2A50 to 0x184D2A5F. */
function isSkippableFrame(head: Uint8Array): boolean {
  return ((head[0] ?? 0) & 0xf0) === 0x50 && hasAt(head, 1, [0x2a, 0x4d, 0x18])
}

function hasAt(bytes: Uint8Array, offset: number, magic: readonly number[]): boolean {
  return magic.every((byte, index) => bytes[offset + index] === byte)
}
