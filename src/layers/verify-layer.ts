import { createHash } from 'node:crypto'
import { hexOf } from '../digest.js'
import type { Driver } from '../drivers/driver.js'
import { walk } from '../fs/walk.js'
import { Slices } from '../jobs/pace.js'
import type { OperationOptions } from '../operation.js'
import { assemble } from '../tar/assemble.js'
import { giveBack } from '../tar/chunk-pool.js'
import { Crc64 } from '../tar/crc64.js'
import { layerDifferences, type KeptLayer } from '../tar/layer-differences.js'
import { LayerModel } from '../tar/layer-model.js'
import { openKeptTrees } from './kept-trees.js'
import type { Layer } from './layer.js'

/** More differences of one layer are counted and not told. */
const MOST_TOLD = 10

export interface LayerUnderTest {
  readonly driver: Driver
  readonly layer: Pick<Layer, 'diffId' | 'cacheId'> & {
    /** `undefined`: not known, and so not compared. */
    readonly size: number | undefined
  }
  /** The driver's id of the layer below. */
  readonly parentCacheId: string | undefined
  readonly tarSplit: string
}

export interface LayerFindings {
  /** What is wrong, one sentence each. */
  readonly faults: readonly string[]
  /** Bytes of the regular files that the layer's tar brings; known once the tar has the right digest. */
  readonly size?: number
}

/**
 * What is wrong with a layer. There are no faults when its files give the bytes of its DiffID and its tree is the one that its tar
 * describes. One pass reads each file of the layer once. Ten differences are told at most, then how many more there are.
 */
export async function verifyLayer(test: LayerUnderTest, options: OperationOptions): Promise<LayerFindings> {
  const { driver, layer, parentCacheId, tarSplit } = test
  const pace = new Slices({ signal: options.signal })
  await using trees = await openKeptTrees(driver, layer.cacheId, parentCacheId)
  const crc = await Crc64.load()
  const model = new LayerModel(trees.tree, trees.lower, crc)
  const hash = createHash('sha256')
  for await (const chunk of assemble(tarSplit, trees.tree, model)) {
    hash.update(chunk)
    giveBack(chunk)
    await pace.breathe()
  }
  const found = hash.digest('hex')
  if (found !== hexOf(layer.diffId))
    return { faults: [`its files give a tar of sha256:${found}, not ${layer.diffId}`] }
  const { size } = model.finish()
  const faults = await toldOf({ ...trees, model, crc }, pace)
  return { faults: [...faults, ...sizeFault(layer, size, model)], size }
}

async function toldOf(kept: KeptLayer, pace: Slices): Promise<string[]> {
  const told: string[] = []
  let count = 0
  for (const difference of layerDifferences(kept)) {
    const turn = pace.breathe()
    if (turn !== undefined) await turn
    if (difference !== undefined && count++ < MOST_TOLD) told.push(difference)
  }
  return count > MOST_TOLD ? [...told, `and ${count - MOST_TOLD} more`] : told
}

/** Docker counts each inode once, and symlinks by the length of their targets. */
function sizeFault({ size }: LayerUnderTest['layer'], found: number, { tree }: LayerModel): string[] {
  if (size === undefined || size === found) return []
  const inodes = new Map<bigint, number>()
  for (const { stat } of walk(tree)) if (stat.type !== 'directory') inodes.set(stat.ino, stat.size)
  const dockers = [...inodes.values()].reduce((sum, each) => sum + each, 0)
  return size === dockers ? [] : [`its size is recorded as ${size} bytes, not ${found}`]
}
