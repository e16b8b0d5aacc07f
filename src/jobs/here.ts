import { flattenLayers, type Flattening } from './flatten.js'
import type { JobOptions } from './job.js'
import type { LayerResult } from './layer-intake.js'
import { Slices } from './pace.js'
import { runJob } from './run-job.js'
import { writtenPaths } from './run.js'
import { unpackLayer, type Unpacking } from './unpack.js'

/**
 * Jobs on the caller's thread, in slices of some milliseconds: for drivers whose trees no other thread can open. What
 * they write is durable as far as it has host paths.
 */
export async function unpackHere(unpacking: Unpacking, options?: JobOptions): Promise<LayerResult> {
  const result = await stoppable(unpackLayer(unpacking, new Slices(options)), options)
  await runJob({ kind: 'settle', paths: writtenPaths(unpacking) })
  return result
}

export async function flattenHere(flattening: Flattening, options?: JobOptions): Promise<LayerResult> {
  const result = await stoppable(flattenLayers(flattening, new Slices(options)), options)
  await runJob({ kind: 'settle', paths: writtenPaths(flattening) })
  return result
}

/** What stopped the work is the signal's reason, whatever the work made of it. */
async function stoppable<T>(work: Promise<T>, options: JobOptions | undefined): Promise<T> {
  try {
    return await work
  } catch (error) {
    options?.signal?.throwIfAborted()
    throw error
  }
}
