import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import type { DiffID } from '../digest.js'
import { StoreError } from '../errors.js'
import type { RecordedPart } from '../tar/part.js'
import {
  ChunkRing,
  closeRing,
  freeSlot,
  isClosed,
  SLOT,
  slotOf,
  tellFilesFilled,
  type RingMemory,
} from './chunk-ring.js'
import { LayoutWriter, partsOf, type ChunkLayout } from './chunk-layout.js'
import { OwnRecord, type LayerRecord } from './layer-record.js'
import type { TakeFile } from '../tar/whole-file.js'
import { closeFiles, countOf, fillFiles, FileTaker, type TakenFiles } from './taken-files.js'
import { packError, unpackError, type PackedError } from './thread-error.js'
import { WriteBack } from './write-back.js'

/**
 * Makes the record of a layer that another thread applies, while that one waits for the file system, and fills small files
 * that the other one made. It ends when the other thread wants no more; what it comes to goes over the port.
 */
export interface RecordJob {
  readonly kind: 'record'
  readonly splitFile?: string | undefined
  /** Where the files go; absent if they stay where they are. */
  readonly root?: string | undefined
  readonly port: MessagePort
  readonly memory: RingMemory
}

/** What the thread that applies the layer holds of it. */
export type RecordEnd = Pick<RecordJob, 'port' | 'memory'>

/** To the one who records. */
interface Note {
  readonly chunks: readonly Chunk[]
  /** After the last chunk. */
  readonly end?: { readonly displaced: readonly Displaced[] }
}

interface Chunk {
  readonly slot: number
  readonly length: number
  readonly layout: ChunkLayout
  /** Of each header that ends in the chunk. */
  readonly stored: Uint8Array
  readonly displaced: readonly Displaced[]
  /** Whose content the chunk holds. They are the recorder's, who gets every note before it is told of the end. */
  readonly files?: TakenFiles | undefined
}

/** To tell another thread something that sleeps takes a tenth of a millisecond on a virtual machine. */
const TOGETHER = 4
/** So many files are open at a time, for the other thread to fill. */
const MOST_FILES = 512

type Outcome =
  | { readonly type: 'done'; readonly diffId: DiffID }
  | { readonly type: 'failed'; readonly error: PackedError }

/** Content of an entry that another one takes away, in a file that both threads have open. */
interface Displaced {
  readonly entry: number
  /** Number of the header that takes it away. */
  readonly by: number
  readonly fd: number
  readonly offset: number
  readonly length: number
}

/** The record that another thread makes. Blocks while that one is far behind. */
export class RemoteRecord implements LayerRecord {
  readonly #port: MessagePort
  readonly #memory: RingMemory
  readonly #ring: ChunkRing
  readonly #check: () => void
  readonly #spillFile: string | undefined
  #given: Pick<Chunk, 'slot' | 'length'> | undefined
  readonly #layout = new LayoutWriter()
  #stored: number[] = []
  /** Those that the other thread was not told of yet. */
  #chunks: Chunk[] = []
  #displaced: Displaced[] = []
  #headers = 0
  readonly #files: FileTaker
  #filesTaken = 0
  #spill: { readonly fd: number; length: number } | undefined

  /** @param check throws when the work is not wanted any more */
  constructor({ port, memory }: RecordEnd, splitFile: string | undefined, check: () => void) {
    this.#port = port
    this.#memory = memory
    this.#ring = new ChunkRing(memory)
    this.#check = check
    this.#files = new FileTaker(memory.slots)
    this.#spillFile = splitFile && `${splitFile}.displaced-content`
  }

  /** Where the next chunk can be read to, so that it need not be copied. */
  slot(): Buffer {
    this.#endChunk()
    if (this.#chunks.length >= TOGETHER || this.#ring.isFull) this.#tell()
    return this.#ring.slot(this.#check)
  }

  /** No more than a slot holds. */
  bytes(bytes: Uint8Array): void {
    const slot = this.slot()
    if (bytes.buffer !== slot.buffer) slot.set(bytes)
    this.give(bytes.length)
  }

  /** So many bytes are in the slot. */
  give(length: number): void {
    this.#given = { slot: this.#ring.give(), length }
  }

  /** Of what is given, or is going to be before another slot is asked for. */
  part(part: RecordedPart, stored: boolean): void {
    this.#layout.part(part)
    if (part.type !== 'header') return
    this.#headers++
    this.#stored.push(stored ? 1 : 0)
  }

  /** While the other thread is behind, files are made here. */
  readonly takeFile: TakeFile = (file, attributes, content) => {
    if (this.#filesTaken - this.#ring.filesFilled >= MOST_FILES) return false
    const taken = this.#files.take(file, attributes, content)
    if (taken) this.#filesTaken++
    return taken
  }

  displace(entry: number, content: Iterable<Uint8Array>): void {
    if (this.#spillFile === undefined) return
    this.#waitFilesFilled()
    const spill = (this.#spill ??= { fd: unnamedFile(this.#spillFile), length: 0 })
    const offset = spill.length
    for (const piece of content) {
      for (let at = 0; at < piece.length;) at += writeSync(spill.fd, piece, at)
      spill.length += piece.length
    }
    const length = spill.length - offset
    this.#displaced.push({ entry, by: this.#headers, fd: spill.fd, offset, length })
  }

  finish(): DiffID {
    this.#endChunk()
    this.#tell({ displaced: this.#displaced })
    this.#ring.waitClosed(this.#check)
    return this.#outcome()
  }

  [Symbol.dispose](): void {
    dismiss([...this.#chunks, { files: this.#files.handOver() }])
    this.#chunks = []
    this.#port.close()
    if (this.#spill !== undefined) closeSync(this.#spill.fd)
    this.#spill = undefined
  }

  #endChunk(): void {
    if (this.#given === undefined) return
    this.#chunks.push({
      ...this.#given,
      layout: this.#layout.take(this.#given.length),
      stored: Uint8Array.from(this.#stored),
      displaced: this.#displaced,
      files: this.#files.handOver(),
    })
    this.#given = undefined
    this.#stored = []
    this.#displaced = []
  }

  /** What was taken has its content. That of this chunk is written here: the other thread does not know it yet. */
  #waitFilesFilled(): void {
    const own = this.#files.handOver()
    if (own !== undefined) {
      this.#filesTaken -= countOf(own)
      fillFiles(own, this.#memory.slots)
    }
    if (this.#ring.filesFilled === this.#filesTaken) return
    this.#tell()
    this.#ring.waitFilesFilled(this.#filesTaken, this.#check)
    if (isClosed(this.#memory)) this.#outcome()
  }

  #tell(end?: Note['end']): void {
    if (isClosed(this.#memory)) this.#outcome()
    const note: Note = { chunks: this.#chunks, ...(end !== undefined && { end }) }
    this.#port.postMessage(note)
    this.#chunks = []
  }

  #outcome(): DiffID {
    const outcome = receiveMessageOnPort(this.#port)?.message as Outcome | undefined
    if (outcome?.type === 'done') return outcome.diffId
    if (outcome?.type === 'failed') throw unpackError(outcome.error)
    throw new StoreError('SYSTEM', 'a worker thread ended before its work was done')
  }
}

/** As the other, of a tar that is made here, in small parts: whole slots go over. */
export class GatheredRecord implements LayerRecord {
  readonly #remote: RemoteRecord
  #slot: Buffer | undefined
  #used = 0

  constructor(remote: RemoteRecord) {
    this.#remote = remote
  }

  /** Where the content of the next part can be read to, so that it need not be copied. */
  space(): Buffer {
    this.#slot ??= this.#remote.slot()
    return this.#slot.subarray(this.#used)
  }

  /** They come with the parts. */
  bytes(): void {}

  part(part: RecordedPart, stored: boolean): void {
    const { length } = part.bytes
    for (let at = 0; at < length;) {
      const slot = (this.#slot ??= this.#remote.slot())
      const end = Math.min(length, at + SLOT - this.#used)
      const piece = at === 0 && end === length ? part : pieceOf(part, at, end)
      if (piece.bytes.buffer !== slot.buffer) slot.set(piece.bytes, this.#used)
      this.#remote.part(piece, stored)
      this.#used += end - at
      at = end
      if (this.#used === SLOT) this.#give()
    }
  }

  readonly takeFile: TakeFile = (...file) => this.#remote.takeFile(...file)

  displace(entry: number, content: Iterable<Uint8Array>): void {
    this.#remote.displace(entry, content)
  }

  finish(): DiffID {
    this.#give()
    return this.#remote.finish()
  }

  [Symbol.dispose](): void {
    this.#remote[Symbol.dispose]()
  }

  #give(): void {
    if (this.#slot !== undefined) this.#remote.give(this.#used)
    this.#slot = undefined
    this.#used = 0
  }
}

/** What there is of a header in an earlier slot is filler: the record keeps both in the same way. */
function pieceOf(part: RecordedPart, start: number, end: number): RecordedPart {
  const bytes = part.bytes.subarray(start, end)
  if (part.type === 'header' && end < part.bytes.length) return { type: 'filler', bytes }
  return { ...part, bytes }
}

/** Does not reject: how it went is told over the port. */
export async function recordLayer(job: RecordJob): Promise<void> {
  const { port, memory } = job
  // Listened to before anything is waited for: it is told once.
  const closed = new Promise<void>((resolve) => port.on('close', () => resolve()))
  try {
    const diffId = await recorded(job, closed)
    if (diffId === undefined) return
    const outcome: Outcome = { type: 'done', diffId }
    port.postMessage(outcome)
  } catch (error) {
    port.removeAllListeners('message').on('message', ({ chunks }: Note) => dismiss(chunks))
    const outcome: Outcome = { type: 'failed', error: packError(error) }
    port.postMessage(outcome)
    closeRing(memory)
    await closed
  } finally {
    closeRing(memory)
    port.close()
  }
}

/** `undefined` when the other thread wants no more. */
async function recorded(
  { port, memory, splitFile, root }: RecordJob,
  closed: Promise<void>,
): Promise<DiffID | undefined> {
  const writeBack = root === undefined ? undefined : new WriteBack(root)
  try {
    using recording = new Recording(await OwnRecord.open(splitFile), memory)
    return await new Promise((resolve, reject) => {
      void closed.then(() => resolve(undefined))
      port.on('message', ({ chunks, end }: Note) => {
        let taken = 0
        try {
          for (const chunk of chunks) {
            writeBack?.made(chunk.length)
            taken++
            recording.take(chunk)
          }
          if (end !== undefined) resolve(recording.finish(end.displaced))
        } catch (error) {
          dismiss(chunks.slice(taken))
          reject(error)
        }
      })
    })
  } finally {
    await writeBack?.end()
  }
}

/** Closes the files of chunks that nobody is going to record. */
function dismiss(chunks: readonly Pick<Chunk, 'files'>[]): void {
  for (const { files } of chunks) if (files !== undefined) closeFiles(files)
}

class Recording implements Disposable {
  readonly #record: LayerRecord
  readonly #memory: RingMemory
  #headers = 0
  #displaced: Displaced[] = []

  constructor(record: LayerRecord, memory: RingMemory) {
    this.#record = record
    this.#memory = memory
  }

  take(chunk: Chunk): void {
    if (chunk.files !== undefined) {
      fillFiles(chunk.files, this.#memory.slots)
      tellFilesFilled(this.#memory, countOf(chunk.files))
    }
    this.#displaced.push(...chunk.displaced)
    const bytes = slotOf(this.#memory, chunk.slot, chunk.length)
    this.#record.bytes(bytes)
    let header = 0
    for (const part of partsOf(chunk.layout, bytes)) {
      const isHeader = part.type === 'header'
      if (isHeader && this.#displaced.length > 0) this.#displace(this.#headers)
      this.#record.part(part, isHeader && chunk.stored[header] === 1)
      if (!isHeader) continue
      header++
      this.#headers++
    }
    freeSlot(this.#memory)
  }

  finish(displaced: readonly Displaced[]): DiffID {
    this.#displaced.push(...displaced)
    this.#displace()
    return this.#record.finish()
  }

  [Symbol.dispose](): void {
    this.#record[Symbol.dispose]()
  }

  /** What headers up to this one took away. */
  #displace(upTo = Infinity): void {
    for (let next = this.#displaced[0]; next !== undefined && next.by <= upTo; next = this.#displaced[0]) {
      this.#record.displace(next.entry, contentOf(next))
      this.#displaced.shift()
    }
  }
}

function* contentOf({ fd, offset, length }: Displaced): Generator<Uint8Array> {
  for (let at = 0; at < length;) {
    const bytes = Buffer.allocUnsafe(Math.min(SLOT, length - at))
    const count = readSync(fd, bytes, 0, bytes.length, offset + at)
    if (count === 0) throw new RangeError('a file is shorter than what was written to it')
    yield bytes.subarray(0, count)
    at += count
  }
}

function unnamedFile(path: string): number {
  const fd = openSync(path, 'wx+', 0o600)
  unlinkSync(path)
  return fd
}
