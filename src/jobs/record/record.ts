import { readSync } from 'node:fs'
import type { DiffID } from '../../digest.js'
import { partsOf } from './chunk-layout.js'
import { closeRing, freeSlot, SLOT, slotOf, tellFilesFilled, type RingMemory } from './chunk-ring.js'
import { OwnRecord, type LayerRecord } from './layer-record.js'
import {
  dismiss,
  type Chunk,
  type Displaced,
  type Note,
  type Outcome,
  type RecordEnd,
} from './record-notes.js'
import { countOf, fillFiles } from './taken-files.js'
import { packError } from '../threads/thread-error.js'
import { WriteBack } from './write-back.js'

/**
 * Makes the record of a layer that another thread applies, and fills small files which that thread created. This uses
 * the time in which the other thread waits for the file system. The job ends when the other thread closes its port. The
 * result goes over the port.
 */
export interface RecordJob extends RecordEnd {
  readonly kind: 'record'
  readonly splitFile?: string | undefined
  /** Directory that the files go to. Absent if they stay where they are. */
  readonly root?: string | undefined
}

/** Does not reject: the outcome goes over the port. */
export async function recordLayer(job: RecordJob): Promise<void> {
  const { port, memory } = job
  // Listen before the first await: `close` is emitted only once.
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

/** Returns `undefined` if the other thread closed its port first. */
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

  /** Records the content that headers up to this number displaced. */
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
    if (count === 0) throw new RangeError('a file is shorter than the data written to it')
    yield bytes.subarray(0, count)
    at += count
  }
}
