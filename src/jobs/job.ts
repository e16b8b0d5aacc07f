import type { CommitJob } from './commit.js'
import type { CopyTreeJob, CopyTreeResult } from './copy-tree.js'
import type { FlattenJob } from './flatten.js'
import type { LayerResult } from './layer-intake.js'
import type { RecordJob } from './record.js'
import type { RemoveTreeJob } from './remove-tree.js'
import type { SettleJob } from './settle.js'
import type { UnpackJob } from './unpack.js'
import type { LayerFindings, VerifyJob } from './verify.js'

/** Work on a whole tree, described as plain data, so that a worker thread can do it. */
export type Job =
  | UnpackJob
  | CommitJob
  | FlattenJob
  | VerifyJob
  | CopyTreeJob
  | RecordJob
  | RemoveTreeJob
  | SettleJob

/** What each kind of job comes to. */
export interface JobResults {
  readonly unpack: LayerResult
  readonly commit: LayerResult
  readonly flatten: LayerResult
  readonly verify: LayerFindings
  readonly copyTree: CopyTreeResult
  readonly record: void
  readonly removeTree: void
  readonly settle: void
}

export type JobResult<J extends Job> = JobResults[J['kind']]

export interface JobOptions {
  /** Aborting rejects with the signal's reason, after the work has come to its end. */
  readonly signal?: AbortSignal | undefined
  /** Called at most twenty times a second, with a number that grows: what it counts is said at the job. */
  readonly onProgress?: ((done: number) => void) | undefined
}
