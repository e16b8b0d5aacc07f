import { createHash } from 'node:crypto'
import { decompress } from '../../compression/decompress.js'
import type { DiffID } from '../../digest.js'
import type { ResolvedLimits } from '../../limits.js'
import { TarReader } from '../../tar/reader.js'
import { bytesOf, lengthOf, type ByteSource } from './byte-source.js'
import type { LayerIntake } from './layer-intake.js'
import type { Pace } from './pace.js'

/** Below this the work is done in about a second, whatever the layer holds. */
const FREE_BYTES = 64 << 20
const FREE_OBJECTS = 4_000
/** Reading so much twice takes some hundredths of the time that it takes to make more than the free objects. */
const SMALL = 16 << 20
/** Of bytes that are packed; tars of programs and libraries need 2 to 5, text up to 15. */
const USUAL_EXPANSION = 20
/** Packed bytes of an entry: a header alone has some 60 to 100 of them that do not repeat. */
const USUAL_OBJECT = 64

export interface VerifyOptions {
  readonly limits: ResolvedLimits
  readonly packedBytes: number | undefined
}

/**
 * Guards against a small layer that costs a lot to apply and has the wrong digest in the end. As soon as a layer asks for
 * far more work than its packed bytes usually do, the rest is read ahead: its digest and its limits are checked without
 * writing anything, some hundred times faster than files are made. A layer with the right digest is then applied.
 */
export class VerifyAhead {
  readonly #source: ByteSource
  readonly #options: VerifyOptions
  readonly #length: number
  #done: boolean

  /** @param expected without one there is nothing to verify, and a stream cannot be read twice */
  constructor(source: ByteSource, expected: DiffID | undefined, options: VerifyOptions) {
    this.#source = source
    this.#options = options
    const length = Math.min(lengthOf(source) ?? Infinity, options.packedBytes ?? Infinity)
    this.#length = length
    this.#done = expected === undefined || 'chunks' in source
  }

  isDue({ tarSize, objects }: Pick<LayerIntake, 'tarSize' | 'objects'>): boolean {
    if (this.#done) return false
    const isDue =
      (tarSize > FREE_BYTES && tarSize > USUAL_EXPANSION * this.#length) ||
      (objects > FREE_OBJECTS && (this.#length < SMALL || objects * USUAL_OBJECT > this.#length))
    if (isDue) this.#done = true
    return isDue
  }

  /** The layer's actual DiffID. Throws what is wrong with its tar, and `LIMIT_EXCEEDED`. */
  async diffId(pace: Pace): Promise<DiffID> {
    const hash = createHash('sha256')
    const { limits, packedBytes = lengthOf(this.#source) } = this.#options
    const reader = new TarReader(limits)
    for await (const chunk of decompress(bytesOf(this.#source), { limits, packedBytes })) {
      hash.update(chunk)
      for (const _part of reader.push(chunk)) {
        const turn = pace.yieldIfDue()
        if (turn !== undefined) await turn
      }
    }
    for (const _part of reader.end());
    return `sha256:${hash.digest('hex')}` as DiffID
  }
}
