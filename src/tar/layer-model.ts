import type { ByteString } from '../fs/bytes.js'
import { MemoryFs, type FileReference } from '../fs/memory/memory-fs.js'
import type { SyncFs } from '../fs/sync-fs.js'
import { LayerApplier } from './apply.js'
import type { AssemblyObserver } from './assemble.js'
import type { Crc64 } from './crc64.js'
import type { TarHeader, TarPart } from './part.js'
import { TarReader } from './reader.js'
import { SparseContent } from './sparse.js'

/** A range of a file's content and its CRC64. */
export interface ContentPiece {
  readonly offset: number
  readonly length: number
  readonly checksum: Buffer
}

/** The content of a file in the layer. */
export interface ModelContent extends FileReference {
  readonly record: ContentRecord
}

/**
 * The change set that a layer's tar describes, in memory and in overlay form. It is built while the tar is assembled,
 * by the same rules that unpacked the layer. File contents are references. They point into the layer's own files, whose
 * bytes the assembly verifies, or into the tree below for files that a hard link brings up.
 */
export class LayerModel implements AssemblyObserver {
  readonly tree = new MemoryFs()
  readonly #reader = new TarReader()
  readonly #applier: LayerApplier
  readonly #contents: SyncFs
  readonly #crc: Crc64
  #record: ContentRecord | undefined

  /**
   * @param contents the layer's own files
   * @param lower the merged tree of the layers below; it stays open
   */
  constructor(contents: SyncFs, lower: SyncFs | undefined, crc: Crc64) {
    this.#contents = contents
    this.#crc = crc
    this.#applier = new LayerApplier(
      { syncFs: this.tree, over: { lower } },
      { contents: (header, path) => this.#content(header, path) },
    )
  }

  segment(bytes: Uint8Array): void {
    for (const part of this.#reader.push(bytes)) this.#part(part)
  }

  content(size: number): void {
    if (size > 0) this.#record?.verifiedByAssembly()
    this.#reader.skipContent(size)
  }

  /** @returns bytes of the regular files in the tar */
  finish(): { readonly size: number } {
    for (const part of this.#reader.end()) this.#part(part)
    return this.#applier.finish()
  }

  /** Whether the layer implies the object at `path` and has no entry for it. */
  isImplied(path: ByteString): boolean {
    return this.#applier.isImplied(path)
  }

  #part(part: TarPart): void {
    if (part.type === 'content') return this.#record?.write(part.bytes)
    if (part.type !== 'header') return
    this.#record = undefined
    this.#applier.part(part)
  }

  #content(header: TarHeader, path: ByteString): ModelContent {
    const { size, sparse } = header
    this.#record = new ContentRecord(header, this.#crc)
    return { fs: this.#contents, path, size: sparse?.size ?? size, record: this.#record }
  }
}

/** Checksums of the file content that the tar-split itself holds. */
export class ContentRecord {
  /** In order. Bytes outside the pieces are zeros. */
  readonly pieces: ContentPiece[] = []
  #isVerified = false
  readonly #crc: Crc64
  readonly #sparse: SparseContent | undefined
  #position = 0

  constructor(header: TarHeader, crc: Crc64) {
    this.#crc = crc
    if (header.sparse === undefined) return
    this.#sparse = new SparseContent(header, header.sparse, {
      write: (bytes, offset) => this.#add(bytes, offset),
      truncate: () => undefined,
    })
  }

  /** Whether a file of the layer holds the content, so that the assembly compares its checksum. */
  get isVerified(): boolean {
    return this.#isVerified
  }

  verifiedByAssembly(): void {
    this.#isVerified = true
  }

  write(bytes: Uint8Array): void {
    if (this.#sparse !== undefined) this.#sparse.write(bytes)
    else this.#position += this.#add(bytes, this.#position)
  }

  #add(bytes: Uint8Array, offset: number): number {
    this.#crc.begin()
    this.#crc.update(bytes)
    this.pieces.push({ offset, length: bytes.length, checksum: this.#crc.digest() })
    return bytes.length
  }
}
