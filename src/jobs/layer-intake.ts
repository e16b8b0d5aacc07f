import { createHash } from 'node:crypto'
import type { DiffID } from '../digest.js'
import type { RawFs } from '../fs/raw-fs.js'
import { LayerApplier, type ApplyOptions, type ApplyTarget } from '../tar/apply.js'
import { Crc64 } from '../tar/crc64.js'
import type { TarPart } from '../tar/part.js'
import { TarSplitWriter } from '../tar/split.js'

/** Where the parts of a layer's tar go; each may be absent. */
export interface LayerSinks {
  /** Where the files go. */
  readonly target?: ApplyTarget | { readonly raw: RawFs } | undefined
  /** Path of the tar-split file to write: what the files do not hold. */
  readonly splitFile?: string | undefined
}

export interface LayerResult {
  /** sha256 of the uncompressed tar. */
  readonly diffId: DiffID
  /** Bytes of the regular files that the tar brought. */
  readonly size: number
  /** Bytes of the uncompressed tar. */
  readonly tarSize: number
}

/** One pass over a layer's tar: digest, files and tar-split. */
export class LayerIntake implements Disposable {
  readonly #hash = createHash('sha256')
  readonly #applier: LayerApplier | undefined
  readonly #split: TarSplitWriter | undefined
  #tarSize = 0
  #fileSize = 0

  private constructor(applier: LayerApplier | undefined, split: TarSplitWriter | undefined) {
    this.#applier = applier
    this.#split = split
  }

  static async open({ target, splitFile }: LayerSinks): Promise<LayerIntake> {
    const split = splitFile === undefined ? undefined : new TarSplitWriter(splitFile, await Crc64.load())
    const onDisplace: ApplyOptions['onDisplace'] = (entry, readOld) => split?.displace(entry, readOld())
    const applier = target === undefined ? undefined : new LayerApplier(target, { onDisplace })
    return new LayerIntake(applier, split)
  }

  get tarSize(): number {
    return this.#tarSize
  }

  /** Takes the tar's bytes into the digest; any cut will do, every byte once and in order. */
  bytes(bytes: Uint8Array): void {
    this.#hash.update(bytes)
    this.#tarSize += bytes.length
  }

  part(part: TarPart): void {
    if (part.type === 'header' && part.header.type === 'file') {
      this.#fileSize += part.header.sparse?.size ?? part.header.size
    }
    const stored = this.#applier?.part(part) ?? true
    this.#split?.part(part, stored)
  }

  finish(): LayerResult {
    const size = this.#applier?.finish().size ?? this.#fileSize
    this.#split?.finish()
    const diffId = `sha256:${this.#hash.digest('hex')}` as DiffID
    return { diffId, size, tarSize: this.#tarSize }
  }

  /** Closes what is open, also after a failure. */
  [Symbol.dispose](): void {
    this.#applier?.close()
    this.#split?.[Symbol.dispose]()
  }
}
