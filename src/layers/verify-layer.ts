import type { Driver } from '../drivers/driver.js'
import { verifyHere } from '../jobs/run/here.js'
import { runJob } from '../jobs/run/run-job.js'
import type { RecordedLayer, LayerFindings } from '../jobs/work/verify.js'
import type { OperationOptions } from '../operation-options.js'
import { keptTreesOf, openKeptTrees } from './kept-trees.js'

export interface LayerUnderTest extends RecordedLayer {
  readonly driver: Driver
  readonly cacheId: string
  /** The driver's id of the layer below. */
  readonly parentCacheId: string | undefined
}

/** Verifies a layer (`jobs/work/verify.ts`), in a worker thread if one can open the driver's trees. */
export async function verifyLayer(
  { driver, cacheId, parentCacheId, ...claims }: LayerUnderTest,
  { signal }: OperationOptions,
): Promise<LayerFindings> {
  const spec = await keptTreesOf(driver, cacheId, parentCacheId)
  if (spec !== undefined) return runJob({ kind: 'verify', trees: spec, ...claims }, { signal })
  await using trees = await openKeptTrees(driver, cacheId, parentCacheId)
  return await verifyHere({ trees, ...claims }, { signal })
}
