import type { CommitJob } from '../work/commit.js'
import type { CopyTreeJob, CopyTreeResult } from '../work/copy-tree-job.js'
import type { FlattenJob } from '../work/flatten.js'
import type { LayerResult } from '../work/layer-intake.js'
import type { RecordJob } from '../record/record.js'
import type { RemoveTreeJob } from '../work/remove-tree-job.js'
import type { SyncJob } from '../work/sync.js'
import type { UnpackJob } from '../work/unpack.js'
import type { LayerFindings, VerifyJob } from '../work/verify.js'

/** Work on a whole tree, described as plain data, so that a worker thread can do it. */
export type Job =
  | UnpackJob
  | CommitJob
  | FlattenJob
  | VerifyJob
  | CopyTreeJob
  | RecordJob
  | RemoveTreeJob
  | SyncJob

/** The result of each kind of job. */
export interface JobResults {
  readonly unpack: LayerResult
  readonly commit: LayerResult
  readonly flatten: LayerResult
  readonly verify: LayerFindings
  readonly copyTree: CopyTreeResult
  readonly record: void
  readonly removeTree: void
  readonly sync: void
}

export type JobResult<J extends Job> = JobResults[J['kind']]
