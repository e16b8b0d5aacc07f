import type { MessagePort } from 'node:worker_threads'
import type { CommitJob } from '../work/commit.js'
import type { FlattenJob } from '../work/flatten.js'
import type { Job, JobResults } from './job.js'
import type { PackedError } from '../threads/thread-error.js'
import type { RecordEnd } from '../record/record-notes.js'
import type { UnpackJob } from '../work/unpack.js'

/** A job as it is posted to a worker: a port replaces the stream. */
export type SentJob =
  | Exclude<Job, UnpackJob | CommitJob | FlattenJob>
  | ((CommitJob | FlattenJob) & { readonly recorder?: RecordEnd | undefined })
  | (Omit<UnpackJob, 'source'> & {
      readonly source: Exclude<UnpackJob['source'], { chunks: unknown }> | SentChunks
      readonly recorder?: RecordEnd | undefined
    })

interface SentChunks {
  readonly port: MessagePort
}

/** Sent to a worker, which does one job at a time. */
export interface RunMessage {
  readonly job: SentJob
  /** Shared memory. A value other than 0 stops the job. */
  readonly stop: Int32Array
}

/** Sent by a worker. `done` and `failed` end a job. */
export type WorkerMessage =
  | { readonly type: 'progress'; readonly done: number }
  | { readonly type: 'done'; readonly result: JobResults[Job['kind']] }
  | { readonly type: 'failed'; readonly error: PackedError }
