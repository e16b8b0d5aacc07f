import type { DiffID } from '../../digest.js'
import type { SyncFs } from '../../fs/sync-fs.js'
import { LayerApplier, type ApplyOptions, type ApplyTarget } from '../../tar/apply.js'
import type { TarPart } from '../../tar/part.js'
import type { LayerRecord } from '../record/layer-record.js'

/** Where the parts of a layer's tar go. Each may be absent. */
export interface LayerSinks {
  /** Where the files go. */
  readonly target?: ApplyTarget | { readonly syncFs: SyncFs } | undefined
  /** Path of the tar-split file to write: what the files do not hold. */
  readonly splitFile?: string | undefined
}

export interface LayerResult {
  /** sha256 of the uncompressed tar. */
  readonly diffId: DiffID
  /** Bytes of the regular files that the tar contained. */
  readonly size: number
  /** Bytes of the uncompressed tar. */
  readonly tarSize: number
}

/** One pass over a layer's tar: digest, files and tar-split. */
export class LayerIntake implements Disposable {
  readonly #applier: LayerApplier | undefined
  readonly #record: LayerRecord
  #tarSize = 0
  #fileSize = 0

  /**
   * @param record is closed by the intake
   * @param maxObjects see {@link ApplyOptions}
   */
  constructor({ target }: Pick<LayerSinks, 'target'>, record: LayerRecord, maxObjects?: number) {
    this.#record = record
    const onDisplace: ApplyOptions['onDisplace'] = (entry, readOld) => record.displace(entry, readOld())
    try {
      this.#applier =
        target === undefined
          ? undefined
          : new LayerApplier(target, { onDisplace, takeFile: record.takeFile, maxObjects })
    } catch (error) {
      record[Symbol.dispose]()
      throw error
    }
  }

  /** Number of entries so far, plus the directories that they implied. */
  get objects(): number {
    return this.#applier?.objects ?? 0
  }

  get tarSize(): number {
    return this.#tarSize
  }

  /** Adds the tar's bytes to the digest: every byte once and in order, split anywhere. */
  bytes(bytes: Uint8Array): void {
    this.#record.bytes(bytes)
    this.#tarSize += bytes.length
  }

  part(part: TarPart): void {
    if (part.type === 'header' && part.header.type === 'file') {
      this.#fileSize += part.header.sparse?.size ?? part.header.size
    }
    const stored = this.#applier?.part(part) ?? true
    this.#record.part(part, stored)
  }

  finish(): LayerResult {
    const size = this.#applier?.finish().size ?? this.#fileSize
    return { diffId: this.#record.finish(), size, tarSize: this.#tarSize }
  }

  /** Closes what is open, also after a failure. */
  [Symbol.dispose](): void {
    this.#applier?.close()
    this.#record[Symbol.dispose]()
  }
}
