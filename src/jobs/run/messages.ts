import type { MessagePort } from 'node:worker_threads'
import type { CommitJob } from '../work/commit.js'
import type { FlattenJob } from '../work/flatten.js'
import type { Job, JobResults } from './job.js'
import type { PackedError } from '../threads/thread-error.js'
import type { RecordEnd } from '../record/record-notes.js'
import type { UnpackJob } from '../work/unpack.js'

/** A job as it crosses to a worker: a stream becomes a port. */
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

/** To a worker, which does one job at a time. */
export interface RunMessage {
  readonly job: SentJob
  /** Not 0: the job is not wanted any more. Memory that both threads see. */
  readonly stop: Int32Array
}

/** From a worker. The last two end a job. */
export type WorkerMessage =
  | { readonly type: 'progress'; readonly done: number }
  | { readonly type: 'done'; readonly result: JobResults[Job['kind']] }
  | { readonly type: 'failed'; readonly error: PackedError }
