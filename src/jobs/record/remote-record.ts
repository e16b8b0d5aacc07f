import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import type { DiffID } from '../../digest.js'
import { StoreError } from '../../errors.js'
import type { RecordedPart } from '../../tar/part.js'
import type { TakeFile } from '../../tar/whole-file.js'
import { LayoutWriter } from './chunk-layout.js'
import { ChunkRing, isClosed, SLOT, type RingMemory } from './chunk-ring.js'
import type { LayerRecord } from './layer-record.js'
import {
  dismiss,
  type Chunk,
  type Displaced,
  type Note,
  type Outcome,
  type RecordEnd,
} from './record-notes.js'
import { countOf, fillFiles, FileTaker } from './taken-files.js'
import { unpackError } from '../threads/thread-error.js'

/** Chunks per message: waking a sleeping thread takes a tenth of a millisecond on a virtual machine. */
const TOGETHER = 2
/** Above this backlog, don't hand the recorder files. */
const FEW = 3
/** Maximum number of open files that wait for the other thread to fill them. */
const MOST_FILES = 512

/** A record that another thread makes. Blocks while that thread is far behind. */
export class RemoteRecord implements LayerRecord {
  readonly #port: MessagePort
  readonly #memory: RingMemory
  readonly #ring: ChunkRing
  readonly #check: () => void
  readonly #spillFile: string | undefined
  #given: Pick<Chunk, 'slot' | 'length'> | undefined
  readonly #layout = new LayoutWriter()
  #stored: number[] = []
  /** Chunks that are not posted yet. */
  #chunks: Chunk[] = []
  #displaced: Displaced[] = []
  #headers = 0
  readonly #files: FileTaker
  #filesTaken = 0
  #spill: { readonly fd: number; length: number } | undefined

  /** @param check throws when the work is no longer wanted */
  constructor({ port, memory }: RecordEnd, splitFile: string | undefined, check: () => void) {
    this.#port = port
    this.#memory = memory
    this.#ring = new ChunkRing(memory)
    this.#check = check
    this.#files = new FileTaker(memory.slots)
    this.#spillFile = splitFile && `${splitFile}.displaced-content`
  }

  /** Returns the buffer for the next chunk, so that the chunk need not be copied. */
  slot(): Buffer {
    this.#endChunk()
    if (this.#chunks.length >= TOGETHER || this.#ring.isFull) this.#tell()
    return this.#ring.slot(this.#check)
  }

  /** Takes at most as many bytes as a slot holds. */
  bytes(bytes: Uint8Array): void {
    const slot = this.slot()
    if (bytes.buffer !== slot.buffer) slot.set(bytes)
    this.give(bytes.length)
  }

  /** Ends the chunk: the slot holds `length` bytes. */
  give(length: number): void {
    this.#given = { slot: this.#ring.give(), length }
  }

  /** Takes a part of the given chunk, or of the chunk that is given before the next `slot()`. */
  part(part: RecordedPart, stored: boolean): void {
    this.#layout.part(part)
    if (part.type !== 'header') return
    this.#headers++
    this.#stored.push(stored ? 1 : 0)
  }

  /** Declines files while the other thread is behind; the caller then fills them. */
  readonly takeFile: TakeFile = (file, attributes, content) => {
    if (this.#ring.backlog > FEW || this.#filesTaken - this.#ring.filesFilled >= MOST_FILES) return false
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

  /**
   * Returns when every file handed over has its content. Fills the current chunk's files here, because they are not
   * posted yet.
   */
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

/** Like {@link RemoteRecord}, for a tar that this thread makes in small parts. Gathers the parts into whole slots. */
export class GatheredRecord implements LayerRecord {
  readonly #remote: RemoteRecord
  #slot: Buffer | undefined
  #used = 0

  constructor(remote: RemoteRecord) {
    this.#remote = remote
  }

  /** Returns the buffer for the content of the next part, so that it need not be copied. */
  space(): Buffer {
    this.#slot ??= this.#remote.slot()
    return this.#slot.subarray(this.#used)
  }

  /** A no-op: the bytes come with the parts. */
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

/** The piece of a header in an earlier slot becomes filler: the record keeps both the same way. */
function pieceOf(part: RecordedPart, start: number, end: number): RecordedPart {
  const bytes = part.bytes.subarray(start, end)
  if (part.type === 'header' && end < part.bytes.length) return { type: 'filler', bytes }
  return { ...part, bytes }
}

function unnamedFile(path: string): number {
  const fd = openSync(path, 'wx+', 0o600)
  unlinkSync(path)
  return fd
}
