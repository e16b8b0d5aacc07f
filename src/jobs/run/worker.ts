import { parentPort } from 'node:worker_threads'
import { receiveChunks } from '../threads/chunk-port.js'
import type { Job } from './job.js'
import type { RunMessage, SentJob, WorkerMessage } from './messages.js'
import { ThreadPace } from '../work/pace.js'
import { run } from './run.js'
import { packError } from '../threads/thread-error.js'

/** The worker thread's entry module. */
parentPort?.on('message', (message: RunMessage) => void answer(message))

async function answer(message: RunMessage): Promise<void> {
  const pace = new ThreadPace(message.stop, (done) => post({ type: 'progress', done }))
  try {
    post({ type: 'done', result: await run(received(message.job), pace) })
  } catch (error) {
    post({ type: 'failed', error: packError(error) })
  }
}

function received(job: SentJob): Job {
  if (job.kind !== 'unpack') return job
  const { source, ...rest } = job
  return { ...rest, source: 'port' in source ? { chunks: receiveChunks(source.port) } : source }
}

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message)
}
