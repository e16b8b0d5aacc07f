import { createHash } from 'node:crypto'
import type { DiffID } from '../digest.js'
import { Crc64 } from '../tar/crc64.js'
import type { TarPart } from '../tar/part.js'
import { TarSplitWriter } from '../tar/split.js'

/** What is kept of a layer's tar beside its files: the digest, and the tar-split. */
export interface LayerRecord extends Disposable {
  /** Takes the tar's bytes into the digest: every byte once, in order, and before the parts of them. */
  bytes(bytes: Uint8Array): void
  /** @param stored for a header: whether its content can be read back from the layer's file of that name */
  part(part: TarPart, stored: boolean): void
  /** The content of an earlier entry is about to be lost to a later one. */
  displace(entryNumber: number, content: Iterable<Uint8Array>): void
  finish(): DiffID
}

/** Made by the thread that applies the layer. */
export class OwnRecord implements LayerRecord {
  readonly #hash = createHash('sha256')
  readonly #split: TarSplitWriter | undefined

  private constructor(split: TarSplitWriter | undefined) {
    this.#split = split
  }

  static async open(splitFile: string | undefined): Promise<OwnRecord> {
    return new OwnRecord(
      splitFile === undefined ? undefined : new TarSplitWriter(splitFile, await Crc64.load()),
    )
  }

  bytes(bytes: Uint8Array): void {
    this.#hash.update(bytes)
  }

  part(part: TarPart, stored: boolean): void {
    this.#split?.part(part, stored)
  }

  displace(entryNumber: number, content: Iterable<Uint8Array>): void {
    this.#split?.displace(entryNumber, content)
  }

  finish(): DiffID {
    this.#split?.finish()
    return `sha256:${this.#hash.digest('hex')}` as DiffID
  }

  [Symbol.dispose](): void {
    this.#split?.[Symbol.dispose]()
  }
}
