import { createHash } from 'node:crypto'
import type { DiffID } from '../../digest.js'
import { Crc64 } from '../../tar/crc64.js'
import type { RecordedPart } from '../../tar/part.js'
import { TarSplitWriter } from '../../tar/split.js'
import type { TakeFile } from '../../tar/whole-file.js'

/** What is kept of a layer's tar beside its files: the digest, and the tar-split. */
export interface LayerRecord extends Disposable {
  /** Takes the tar's bytes into the digest: every byte once, in order, and before the parts of them. */
  bytes(bytes: Uint8Array): void
  /** @param stored for a header: whether its content can be read back from the layer's file of that name */
  part(part: RecordedPart, stored: boolean): void
  /** The content of an earlier entry is about to be lost to a later one. */
  displace(entryNumber: number, content: Iterable<Uint8Array>): void
  /** Where another thread makes the record, which has the time to fill files, too. */
  readonly takeFile?: TakeFile
  /** Returns when all is done that was taken. */
  finish(): DiffID
}

/** Less than this costs less to copy than to hash by itself. */
const SMALL = 1 << 13
const GATHERED = 1 << 16

/** Made by the thread that applies the layer. */
export class OwnRecord implements LayerRecord {
  readonly #hash = createHash('sha256')
  readonly #gathered = Buffer.allocUnsafeSlow(GATHERED)
  #gatheredSize = 0
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
    if (this.#gatheredSize + bytes.length > GATHERED) this.#hashGathered()
    if (bytes.length < SMALL) {
      this.#gathered.set(bytes, this.#gatheredSize)
      this.#gatheredSize += bytes.length
    } else {
      this.#hashGathered()
      this.#hash.update(bytes)
    }
  }

  part(part: RecordedPart, stored: boolean): void {
    this.#split?.part(part, stored)
  }

  displace(entryNumber: number, content: Iterable<Uint8Array>): void {
    this.#split?.displace(entryNumber, content)
  }

  finish(): DiffID {
    this.#split?.finish()
    this.#hashGathered()
    return `sha256:${this.#hash.digest('hex')}` as DiffID
  }

  [Symbol.dispose](): void {
    this.#split?.[Symbol.dispose]()
  }

  #hashGathered(): void {
    if (this.#gatheredSize > 0) this.#hash.update(this.#gathered.subarray(0, this.#gatheredSize))
    this.#gatheredSize = 0
  }
}
