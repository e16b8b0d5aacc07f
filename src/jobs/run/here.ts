import { dirname } from 'node:path'
import { syncTogether } from '../../durable/sync-together.js'
import { commitLayer, type Committing } from '../work/commit.js'
import { flattenLayers, type Flattening } from '../work/flatten.js'
import type { LayerResult, LayerSinks } from '../work/layer-intake.js'
import { CallerPace, type JobOptions, type Pace } from '../work/pace.js'
import { runJob } from './run-job.js'
import { treePath, writtenPaths } from './run.js'
import { unpackLayer, type Unpacking } from '../work/unpack.js'
import { verifyLayer, type LayerFindings, type Verifying } from '../work/verify.js'

/**
 * Jobs on the caller's thread, in slices of some milliseconds. For drivers whose trees no other thread can open. Output
 * with a host path is durable on return.
 */
export function unpackHere(unpacking: Unpacking, options?: JobOptions): Promise<LayerResult> {
  return inSlices(unpackLayer, unpacking, options)
}

export function commitHere(committing: Committing, options?: JobOptions): Promise<LayerResult> {
  return inSlices(commitLayer, committing, options)
}

export function flattenHere(flattening: Flattening, options?: JobOptions): Promise<LayerResult> {
  return inSlices(flattenLayers, flattening, options)
}

/** Writes nothing. */
export function verifyHere(verifying: Verifying, options?: JobOptions): Promise<LayerFindings> {
  return stoppable(verifyLayer(verifying, new CallerPace(options)), options)
}

async function inSlices<Work extends LayerSinks>(
  layer: (work: Work, pace: Pace) => Promise<LayerResult>,
  work: Work,
  options: JobOptions | undefined,
): Promise<LayerResult> {
  const result = await stoppable(layer(work, new CallerPace(options)), options)
  await syncWritten(work)
  return result
}

/** Without a tree on the host there is at most one file, which does not justify a thread. */
async function syncWritten({ target, splitFile }: LayerSinks): Promise<void> {
  if (treePath(target) !== undefined)
    await runJob({ kind: 'sync', paths: writtenPaths({ target, splitFile }) })
  else if (splitFile !== undefined)
    await syncTogether({ files: [splitFile], directories: [dirname(splitFile)] })
}

/** After an abort, rejects with the signal's reason, whatever error the work threw. */
async function stoppable<T>(work: Promise<T>, options: JobOptions | undefined): Promise<T> {
  try {
    return await work
  } catch (error) {
    options?.signal?.throwIfAborted()
    throw error
  }
}
