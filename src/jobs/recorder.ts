import { availableParallelism } from 'node:os'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { closeRing, ringMemory } from './chunk-ring.js'
import type { Job } from './job.js'
import type { RecordEnd } from './record.js'
import { WorkerPool } from './worker-pool.js'

/** Below this a second thread costs more than it takes over. */
const WORTH = 4 << 20

/** Threads of their own: nobody who works waits for one, and none of them waits for a place. */
const pool = new WorkerPool(Math.floor(availableParallelism() / 2))

/** A thread that makes the record of a layer which another one applies. */
export interface Recorder {
  /** For that other thread; the port is to be transferred. */
  readonly end: RecordEnd
  /** Resolves when the recorder has ended, for which it waits; the other thread's work is over by then. */
  stop(): Promise<void>
}

/** `undefined` where it is not worth it, and while there is no processor to spare. */
export function recorderFor(job: Job): Recorder | undefined {
  if (job.kind !== 'unpack' || availableParallelism() < 2 || !isLarge(job.source)) return undefined
  const worker = pool.tryAcquire()
  if (worker === undefined) return undefined
  const { port1, port2 } = new MessageChannel()
  const memory = ringMemory()
  const ended = new Promise<void>((resolve) => {
    const onDeath = (): void => {
      closeRing(memory)
      resolve()
    }
    worker.run(
      {
        job: { kind: 'record', splitFile: job.splitFile, root: job.target.files.root, port: port2, memory },
        stop: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
      },
      [port2],
      { onMessage: ({ type }) => void (type !== 'progress' && resolve()), onDeath },
    )
  })
  return { end: { port: port1, memory }, stop: () => stopped(port1, ended, () => pool.release(worker)) }
}

/** The port is this thread's still if it never was sent. */
async function stopped(port: MessagePort, ended: Promise<void>, release: () => void): Promise<void> {
  port.close()
  await ended
  release()
}

function isLarge(source: Extract<Job, { kind: 'unpack' }>['source']): boolean {
  return 'chunks' in source || source.length === undefined || source.length >= WORTH
}
