import { StoreError } from '../errors.js'
import { limitExceeded } from '../limits.js'

const MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
const RLE_BLOCK = 1
const COMPRESSED_BLOCK = 2
/** RFC 8878, Block_Maximum_Size. */
const MAX_BLOCK = 128 << 10

/** The work of a decoder for the blocks so far. */
interface Work {
  /** Most bytes of output. */
  output: number
  /** Bytes moved by a decoder that keeps its window as one array, as fzstd does: the window, once per block. */
  moved: number
}

/**
 * Walks the frames of a zstd stream (RFC 8878) without decompressing them. After a frame, another one or the end must
 * follow. Decoders differ in how they treat garbage there, and in how much memory a header makes them allocate.
 */
export class ZstdFrames {
  readonly #walk: Generator<Want, never, Buffer>
  readonly work: Readonly<Work>
  /** Bytes that the walk waits for or skips. */
  #wanted: Want
  #field: Uint8Array = new Uint8Array(0)

  /** @param maxWindow bytes of memory that a frame may ask for; more throws `LIMIT_EXCEEDED` */
  constructor(maxWindow: number) {
    const work = { output: 0, moved: 0 }
    this.work = work
    this.#walk = walkFrames(maxWindow, work)
    this.#wanted = this.#walk.next().value as Want
  }

  /** Throws `ARCHIVE_CORRUPT` if the stream is malformed, and `LIMIT_EXCEEDED` if a window is too large. */
  push(chunk: Uint8Array): void {
    let rest = chunk
    while (rest.length > 0) {
      const missing = this.#wanted.bytes - this.#field.length
      const taken = rest.subarray(0, missing)
      rest = rest.subarray(taken.length)
      if (this.#wanted.skip) this.#wanted.bytes -= taken.length
      else this.#field = this.#field.length === 0 ? taken : Buffer.concat([this.#field, taken])
      if (taken.length === missing) this.#advance()
    }
  }

  /** Throws `ARCHIVE_TRUNCATED` if the stream ends inside a frame. */
  end(): void {
    if (this.#wanted.between && this.#field.length === 0) return
    throw new StoreError('ARCHIVE_TRUNCATED', 'the zstd stream is truncated')
  }

  #advance(): void {
    do {
      this.#wanted = this.#walk.next(Buffer.from(this.#field)).value as Want
      this.#field = new Uint8Array(0)
    } while (this.#wanted.bytes === 0)
  }
}

interface Want {
  bytes: number
  readonly skip: boolean
  /** Whether the stream may end here. */
  readonly between: boolean
}

const read = (bytes: number): Want => ({ bytes, skip: false, between: false })
const skip = (bytes: number): Want => ({ bytes, skip: true, between: false })

function* walkFrames(maxWindow: number, work: Work): Generator<Want, never, Buffer> {
  for (;;) {
    const magic = (yield { bytes: 4, skip: false, between: true }).readUInt32LE()
    if (magic === MAGIC) yield* walkFrame(maxWindow, work)
    else if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) yield skip((yield read(4)).readUInt32LE())
    else
      throw new StoreError(
        'ARCHIVE_CORRUPT',
        'corrupt zstd stream: a frame does not begin with a magic number',
      )
  }
}

function* walkFrame(maxWindow: number, work: Work): Generator<Want, void, Buffer> {
  const descriptor = (yield read(1))[0] ?? 0
  const singleSegment = (descriptor & 0x20) !== 0
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] ?? 0
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  let window = singleSegment ? 0 : windowOf((yield read(1))[0] ?? 0)
  yield skip(dictionaryBytes)
  if (sizeBytes > 0) {
    const size = contentSize(yield read(sizeBytes))
    if (singleSegment) window = size
  }
  checkWindow(window, maxWindow)
  yield* walkBlocks(window, work)
  if ((descriptor & 4) !== 0) yield skip(4)
}

function* walkBlocks(window: number, work: Work): Generator<Want, void, Buffer> {
  for (let last = false; !last;) {
    const header = (yield read(3)).readUIntLE(0, 3)
    last = (header & 1) !== 0
    const type = (header >> 1) & 3
    const size = header >> 3
    if (size > MAX_BLOCK) {
      throw new StoreError(
        'ARCHIVE_CORRUPT',
        `corrupt zstd stream: a block has ${size} bytes, more than ${MAX_BLOCK}`,
      )
    }
    work.output += type === COMPRESSED_BLOCK ? MAX_BLOCK : size
    work.moved += window
    yield skip(type === RLE_BLOCK ? 1 : size)
  }
}

function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

function contentSize(field: Buffer): number {
  switch (field.length) {
    case 2:
      return field.readUInt16LE() + 256
    case 8:
      return Number(field.readBigUInt64LE())
    default:
      return field.readUIntLE(0, field.length)
  }
}

function checkWindow(bytes: number, maxWindow: number): void {
  if (bytes > maxWindow) {
    throw limitExceeded(
      'zstdWindow',
      maxWindow,
      `a zstd frame needs a window of ${bytes} bytes, more than ${maxWindow}`,
    )
  }
}
