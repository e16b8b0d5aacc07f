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

/** Below this many bytes, a second thread costs more than it saves. */
const WORTH = 4 << 20
/**
 * From this many entries on, recording takes about as long as reading. For a few large files recording takes far
 * longer, so a second thread gains little.
 */
const MANY = 500

/** A separate pool: jobs never wait for a recorder, and recorders never wait for a worker. */
const pool = new WorkerPool(Math.floor(availableParallelism() / 2))
/**
 * Reused by all records of a recorder thread: shared memory is freed only after all three threads have collected it.
 */
const slotsOf = new WeakMap<PooledWorker, SharedArrayBuffer>()

/** A thread that makes the record of a layer that another thread applies. */
export interface Recorder {
  /** For the thread that applies the layer. Its port must be transferred. */
  readonly end: RecordEnd
  /** Waits for the recorder to end, and releases its worker. Call it after the other thread's work is over. */
  stop(): Promise<void>
}

/** Returns `undefined` if a recorder is not worth it, or if no processor is free for it. */
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

/** Closes the port, which this thread still owns if it was never transferred. */
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

/** Stops after `MANY` entries. Ignores errors: the job that reads the tree reports them. */
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
