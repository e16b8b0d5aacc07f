import { opendirSync, type Dir } from 'node:fs'
import { availableParallelism } from 'node:os'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { joinBytes, type ByteString } from '../../fs/bytes.js'
import { hostPathOf } from '../../fs/host/host-path.js'
import { closeRing, ringMemory } from '../record/chunk-ring.js'
import type { CommitJob } from '../work/commit.js'
import type { FlattenJob } from '../work/flatten.js'
import type { Job } from './job.js'
import type { RunMessage, WorkerMessage } from './messages.js'
import type { RecordEnd } from '../record/record-notes.js'
import type { UnpackJob } from '../work/unpack.js'
import { WorkerPool, type PooledWorker } from '../threads/worker-pool.js'

/** Below this a second thread costs more than it takes over. */
const WORTH = 4 << 20
/** Of so many files the record takes as long as reading them; of a few large ones it takes longer by far. */
const MANY = 500

/** Threads of their own: nobody who works waits for one, and none of them waits for a place. */
const pool = new WorkerPool(Math.floor(availableParallelism() / 2))
/** Each thread's own for all its records: memory that was shared is given back only when all three threads have collected it. */
const slotsOf = new WeakMap<PooledWorker, SharedArrayBuffer>()

/** A thread that makes the record of a layer which another one applies. */
export interface Recorder {
  /** For that other thread; the port is to be transferred. */
  readonly end: RecordEnd
  /** Resolves when the recorder has ended, for which it waits; the other thread's work is over by then. */
  stop(): Promise<void>
}

/** `undefined` where it is not worth it, and while there is no processor to spare. */
export function recorderFor(job: Job): Recorder | undefined {
  if (availableParallelism() < 2 || !isLarge(job)) return undefined
  const worker = pool.tryAcquire()
  if (worker === undefined) return undefined
  const { port1, port2 } = new MessageChannel()
  const memory = ringMemory(slotsOf.get(worker))
  slotsOf.set(worker, memory.slots)
  const ended = new Promise<void>((resolve) => {
    const onDeath = (): void => {
      closeRing(memory)
      resolve()
    }
    const task: RunMessage = {
      job: { kind: 'record', splitFile: job.splitFile, root: job.target?.files.root, port: port2, memory },
      stop: new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)),
    }
    const onMessage = ({ type }: WorkerMessage): void => void (type !== 'progress' && resolve())
    worker.run(task, [port2], { onMessage, onDeath })
  })
  return { end: { port: port1, memory }, stop: () => stopped(port1, ended, () => pool.release(worker)) }
}

/** The port is this thread's still if it never was sent. */
async function stopped(port: MessagePort, ended: Promise<void>, release: () => void): Promise<void> {
  port.close()
  await ended
  release()
}

function isLarge(job: Job): job is UnpackJob | CommitJob | FlattenJob {
  switch (job.kind) {
    case 'unpack':
      return 'chunks' in job.source || job.source.length === undefined || job.source.length >= WORTH
    case 'commit':
      return job.source.form === 'overlay' && hasMany(job.source.upper.root)
    case 'flatten':
      return true
    default:
      return false
  }
}

/** Looks at no more entries than that. What is wrong with the tree is told by who reads it. */
function hasMany(root: string): boolean {
  const waiting = ['' as ByteString]
  let entries = 0
  try {
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      using directory = opened(hostPathOf(root, path))
      for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
        if (++entries >= MANY) return true
        if (entry.isDirectory()) waiting.push(joinBytes(path, entry.name as ByteString))
      }
    }
  } catch {
    return false
  }
  return false
}

function opened(path: string | Buffer): Pick<Dir, 'readSync'> & Disposable {
  const directory = opendirSync(path as string, { encoding: 'latin1' })
  return { readSync: () => directory.readSync(), [Symbol.dispose]: () => directory.closeSync() }
}
