import { createHash } from 'node:crypto'
import type { DiffID } from '../../digest.js'
import { Crc64 } from '../../tar/crc64.js'
import type { RecordedPart } from '../../tar/part.js'
import { TarSplitWriter } from '../../tar/split.js'
import type { TakeFile } from '../../tar/whole-file.js'

/** The record of a layer's tar that is kept beside its files: the digest and the tar-split. */
export interface LayerRecord extends Disposable {
  /** Adds the tar's bytes to the digest. Every byte must come once, in order, and before its part. */
  bytes(bytes: Uint8Array): void
  /** @param stored for a header: whether its content can be read back from the layer's file of that name */
  part(part: RecordedPart, stored: boolean): void
  /** Call it before a later entry removes or overwrites the content of an earlier one. */
  displace(entryNumber: number, content: Iterable<Uint8Array>): void
  /** Hands a file to the recording thread to fill. Present only if another thread makes the record. */
  readonly takeFile?: TakeFile
  /** Returns the DiffID when everything it received is recorded. */
  finish(): DiffID
}

/** Smaller pieces are cheaper to copy together than to hash one by one. */
const SMALL = 1 << 13
const GATHERED = 1 << 16

/** The record made by the thread that applies the layer. */
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
