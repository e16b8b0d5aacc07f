import { createHash } from 'node:crypto'
import { decompress } from '../../compression/decompress.js'
import type { DiffID } from '../../digest.js'
import type { ResolvedLimits } from '../../limits.js'
import { TarReader } from '../../tar/reader.js'
import { bytesOf, lengthOf, type ByteSource } from './byte-source.js'
import type { LayerIntake } from './layer-intake.js'
import type { Pace } from './pace.js'

/** Below these limits the work takes about a second, whatever the layer holds. */
const FREE_BYTES = 64 << 20
const FREE_OBJECTS = 4_000
/**
 * Reading this many bytes twice takes a few hundredths of the time it takes to make more than `FREE_OBJECTS` objects.
 */
const SMALL = 16 << 20
/** Tar bytes per compressed byte. Tars of programs and libraries need 2 to 5, text up to 15. */
const USUAL_EXPANSION = 20
/** Compressed bytes of an entry. A header alone has some 60 to 100 bytes that do not repeat. */
const USUAL_OBJECT = 64

export interface VerifyOptions {
  readonly limits: ResolvedLimits
  readonly packedBytes: number | undefined
}

/**
 * Guards against a small layer that is costly to apply and turns out to have the wrong digest. When a layer asks for
 * far more work than its compressed bytes usually do, the whole source is read ahead. That checks its digest and limits
 * without writing, some hundred times faster than files are made. Only a layer with the right digest is applied to its
 * end.
 */
export class VerifyAhead {
  readonly #source: ByteSource
  readonly #options: VerifyOptions
  readonly #length: number
  #done: boolean

  /** @param expected if absent, nothing is verified. Neither is a stream, which cannot be read twice. */
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

  /** Returns the layer's actual DiffID. Throws if its tar is invalid or breaks a limit (`LIMIT_EXCEEDED`). */
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
