import { createHash } from 'node:crypto'
import type { Compression } from '../../compression/compression.js'
import { decompress } from '../../compression/decompress.js'
import type { Digest, DiffID } from '../../digest.js'
import { StoreError, storeError } from '../../errors.js'
import { NO_LIMITS, type ResolvedLimits } from '../../limits.js'
import type { ApplyTarget } from '../../tar/apply.js'
import { TarReader } from '../../tar/reader.js'
import { bytesOf, freshBuffer, lengthOf, type ByteSource } from './byte-source.js'
import { SLOT } from '../record/chunk-ring.js'
import { LayerIntake, type LayerResult, type LayerSinks } from './layer-intake.js'
import { OwnRecord } from '../record/layer-record.js'
import type { Pace } from './pace.js'
import type { RecordEnd } from '../record/record-notes.js'
import { RemoteRecord } from '../record/remote-record.js'
import { VerifyAhead } from './verify-ahead.js'

/**
 * Unpacks a layer's tar, plain or compressed. When the job is done, the files and the tar-split are durable and the
 * digests match. When it fails, the caller must remove what was written. Progress counts bytes of the uncompressed tar.
 */
export interface UnpackJob extends LayerSinks {
  readonly kind: 'unpack'
  readonly source: ByteSource
  readonly target: ApplyTarget
  /** Rejects with `DIGEST_MISMATCH` if the actual DiffID differs. */
  readonly expected?: DiffID | undefined
  /** sha256 of the source's bytes as stored. Rejects with `DIGEST_MISMATCH` if the actual digest differs. */
  readonly expectedBlob?: Digest | undefined
  /** @default none, for tars that the store itself made */
  readonly limits?: ResolvedLimits | undefined
  /** Bytes of the compressed archive that contains the source. Used if smaller than the source's own size. */
  readonly packedBytes?: number | undefined
}

/** An {@link UnpackJob} whose target may be a filesystem of this thread. */
export type Unpacking = Omit<UnpackJob, 'kind' | 'target'> &
  LayerSinks & {
    /** Connects to another thread that makes the record at the same time. */
    readonly recorder?: RecordEnd | undefined
  }

export async function unpackLayer(job: Unpacking, pace: Pace): Promise<LayerResult> {
  try {
    const { source, splitFile, recorder, expected, expectedBlob } = job
    const record =
      recorder === undefined
        ? await OwnRecord.open(splitFile)
        : new RemoteRecord(recorder, splitFile, () => pace.check())
    const limits = job.limits ?? NO_LIMITS
    using intake = new LayerIntake(job, record, limits.entries)
    let buffer: (wanted?: number) => Buffer = freshBuffer
    // If the blob is the tar itself, the DiffID check covers it.
    const blob = new BlobDigest(expectedBlob === expected ? undefined : expectedBlob)
    const onDetected = (compression: Compression) => {
      if (compression !== 'none' && expectedBlob !== undefined && expectedBlob === expected)
        throw packed(expected)
      // A decompressor keeps its input for a while. Otherwise each chunk is done with before the next is read.
      if (compression === 'none') buffer = record instanceof RemoteRecord ? () => record.slot() : reused()
    }
    const bytes = bytesOf(source, (wanted) => buffer(wanted))
    const packedBytes = smaller(lengthOf(source), job.packedBytes)
    const tar = decompress(blob.watch(bytes), { onDetected, limits, packedBytes })
    const ahead = new VerifyAhead(source, expected, { limits, packedBytes })
    const checkpoint = () =>
      ahead.isDue(intake)
        ? ahead.diffId(pace).then((found) => verifyDiffId(found, expected))
        : pace.yieldIfDue()
    const result = await readTar(tar, intake, pace, new TarReader(limits), checkpoint)
    blob.verify()
    verifyDiffId(result.diffId, expected)
    return result
  } catch (error) {
    throw storeError(error, 'SYSTEM', 'could not unpack the layer')
  }
}

async function readTar(
  chunks: AsyncIterable<Uint8Array>,
  intake: LayerIntake,
  pace: Pace,
  reader: TarReader,
  checkpoint: () => Promise<void> | undefined,
): Promise<LayerResult> {
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += SLOT) {
      const piece = chunk.subarray(at, at + SLOT)
      intake.bytes(piece)
      for (const part of reader.push(piece)) {
        intake.part(part)
        const turn = checkpoint()
        if (turn !== undefined) await turn
      }
      pace.progress(intake.tarSize)
    }
  }
  for (const part of reader.end()) intake.part(part)
  return intake.finish()
}

function smaller(one: number | undefined, other: number | undefined): number | undefined {
  const least = Math.min(one ?? Infinity, other ?? Infinity)
  return least === Infinity ? undefined : least
}

function reused(): (wanted?: number) => Buffer {
  let buffer: Buffer | undefined
  return (wanted) => (buffer ??= freshBuffer(wanted))
}

function verifyDiffId(actual: DiffID, expected: DiffID | undefined): void {
  if (expected === undefined || actual === expected) return
  throw new StoreError('DIGEST_MISMATCH', `the layer's DiffID is ${actual}, not ${expected}`, {
    hint: 'the archive is damaged, or its config names other layers',
  })
}

function packed(diffId: DiffID): StoreError {
  return new StoreError(
    'DIGEST_MISMATCH',
    `the layer's blob is compressed, but its digest is given as the DiffID ${diffId}`,
  )
}

/** The digest of the bytes as they arrive, if an expected one is given. */
class BlobDigest {
  readonly #expected: Digest | undefined
  readonly #hash = createHash('sha256')

  constructor(expected: Digest | undefined) {
    this.#expected = expected
  }

  watch(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    return this.#expected === undefined ? chunks : this.#update(chunks)
  }

  verify(): void {
    if (this.#expected === undefined) return
    const actual = `sha256:${this.#hash.digest('hex')}`
    if (actual === this.#expected) return
    throw new StoreError(
      'DIGEST_MISMATCH',
      `the digest of the layer's blob is ${actual}, not ${this.#expected}`,
    )
  }

  async *#update(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      this.#hash.update(chunk)
      yield chunk
    }
  }
}
