import { commitLayer } from '../work/commit.js'
import { copyTreeOf } from '../work/copy-tree-job.js'
import { flattenLayers } from '../work/flatten.js'
import type { Job, JobResults } from './job.js'
import type { LayerSinks } from '../work/layer-intake.js'
import type { Pace } from '../work/pace.js'
import { recordLayer } from '../record/record.js'
import { removeTreeAt } from '../work/remove-tree-job.js'
import { syncTrees } from '../work/sync.js'
import { unpackLayer } from '../work/unpack.js'
import { verifyKept } from '../work/verify.js'

/** Runs a job on this thread and makes its output durable. */
export async function run(job: Job, pace: Pace): Promise<JobResults[Job['kind']]> {
  switch (job.kind) {
    case 'unpack':
      return synced(await unpackLayer(job, pace), writtenPaths(job))
    case 'commit':
      return synced(await commitLayer(job, pace), writtenPaths(job))
    case 'flatten':
      return synced(await flattenLayers(job, pace), writtenPaths(job))
    case 'verify':
      return verifyKept(job, pace)
    case 'copyTree':
      return synced(copyTreeOf(job, pace), [
        job.to.root,
        ...(job.record === undefined ? [] : [job.record.file]),
      ])
    case 'record':
      return recordLayer(job)
    case 'removeTree':
      return removeTreeAt(job, pace)
    case 'sync':
      return syncTrees(job.paths)
  }
}

/** Host paths of the tree and the tar-split, if the job writes them. */
export function writtenPaths({ target, splitFile }: LayerSinks): string[] {
  return [treePath(target), splitFile].filter((path) => path !== undefined)
}

/** Host path of the tree; `undefined` if it has none. */
export function treePath(target: LayerSinks['target']): string | undefined {
  if (target === undefined) return undefined
  return 'syncFs' in target ? target.syncFs.hostPath : target.files.root
}

function synced<T>(result: T, paths: readonly string[]): T {
  syncTrees(paths)
  return result
}
