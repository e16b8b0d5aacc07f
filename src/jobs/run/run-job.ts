import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { storeError } from '../../errors.js'
import { ChunkSender } from '../threads/chunk-port.js'
import type { JobOptions } from '../work/pace.js'
import type { Job, JobResult } from './job.js'
import type { RunMessage, SentJob, WorkerMessage } from './messages.js'
import type { RecordEnd } from '../record/record-notes.js'
import { recorderFor } from './recorder.js'
import { unpackError } from '../threads/thread-error.js'
import { WorkerPool, type PooledWorker } from '../threads/worker-pool.js'

const pool = new WorkerPool()

/**
 * Runs a job in a worker thread. Rejects with the errors that the job would throw on this thread. After a rejection,
 * including by an abort, no part of the job is still running.
 */
export async function runJob<J extends Job>(job: J, options: JobOptions = {}): Promise<JobResult<J>> {
  const { signal, onProgress } = options
  const worker = await pool.acquire(signal)
  const recorder = recorderFor(job)
  const sending = send(job, recorder?.end)
  const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  let stopped: { readonly reason: unknown } | undefined
  const stopFor = (reason: unknown): void => {
    stopped ??= { reason }
    Atomics.store(stop, 0, 1)
    sending.sender?.stop()
  }
  const abort = (): void => stopFor(signal?.reason)
  const progress = (done: number): void => {
    try {
      onProgress?.(done)
    } catch (error) {
      stopFor(error)
    }
  }
  signal?.addEventListener('abort', abort, { once: true })
  try {
    signal?.throwIfAborted()
    return (await outcome(worker, sending, stop, progress)) as JobResult<J>
  } catch (error) {
    if (stopped !== undefined) throw stopped.reason
    const { failure } = sending.sender ?? {}
    throw failure === undefined ? error : storeError(failure, 'SYSTEM', "could not read the layer's stream")
  } finally {
    signal?.removeEventListener('abort', abort)
    sending.sender?.stop()
    await recorder?.stop()
    pool.release(worker)
  }
}

interface Sending {
  readonly job: SentJob
  readonly ports: readonly MessagePort[]
  readonly sender?: ChunkSender
}

/** A stream cannot be posted. A port can, and this thread feeds it. */
function send(job: Job, recorder: RecordEnd | undefined): Sending {
  const ports = recorder === undefined ? [] : [recorder.port]
  if (job.kind === 'commit' || job.kind === 'flatten') return { job: { ...job, recorder }, ports }
  if (job.kind !== 'unpack') return { job, ports: [] }
  const { source } = job
  if (!('chunks' in source)) return { job: { ...job, source, recorder }, ports }
  const { port1, port2 } = new MessageChannel()
  const sender = new ChunkSender(source.chunks, port1)
  return { job: { ...job, source: { port: port2 }, recorder }, ports: [...ports, port2], sender }
}

function outcome(
  worker: PooledWorker,
  { job, ports }: Sending,
  stop: Int32Array,
  onProgress: (done: number) => void,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: WorkerMessage): void => {
      switch (message.type) {
        case 'progress':
          return onProgress(message.done)
        case 'done':
          return resolve(message.result)
        case 'failed':
          return reject(unpackError(message.error))
      }
    }
    const task: RunMessage = { job, stop }
    worker.run(task, ports, { onMessage, onDeath: reject })
  })
}
