import { createHash } from 'node:crypto'
import { hexOf, type DiffID } from '../../digest.js'
import { HostFs } from '../../fs/host/host-fs.js'
import type { HostFsSpec } from '../../fs/spec.js'
import { UnionFs } from '../../fs/union/union-fs.js'
import { walk } from '../../fs/trees/walk.js'
import { assemble } from '../../tar/assemble.js'
import { giveBack } from '../../tar/chunk-pool.js'
import { Crc64 } from '../../tar/crc64.js'
import { diffChanges, type SnapshotSource } from '../../tar/diff.js'
import { layerDifferences, type KeptLayer } from '../../tar/layer-differences.js'
import { LayerModel } from '../../tar/layer-model.js'
import type { Pace } from './pace.js'

/** The check reports this many differences of a layer and counts the rest. */
const MOST_TOLD = 10

/** Compares a layer with its tar and changes nothing. Reports no progress. */
export interface VerifyJob extends RecordedLayer {
  readonly kind: 'verify'
  readonly trees: KeptTreesSpec
}

/** A {@link VerifyJob} whose trees are open in this thread. */
export interface Verifying extends RecordedLayer {
  readonly trees: KeptTrees
}

export interface RecordedLayer {
  readonly diffId: DiffID
  /** As recorded in the layerdb, in bytes. `undefined` means unknown, and is not compared. */
  readonly size: number | undefined
  readonly tarSplit: string
}

/** The tree of a layer as its driver keeps it, as plain data. */
export type KeptTreesSpec =
  | { readonly form: 'overlay'; readonly files: HostFsSpec; readonly lowers: readonly HostFsSpec[] }
  | {
      readonly form: 'merged'
      readonly files: HostFsSpec
      readonly lower?: HostFsSpec | undefined
      readonly snapshot?: SnapshotSource | undefined
    }

export type KeptTrees = Pick<KeptLayer, 'form' | 'tree' | 'lower' | 'changes'>

export interface LayerFindings {
  /** What is wrong, one sentence each. */
  readonly faults: readonly string[]
  /** Bytes of the regular files in the layer's tar. Set if the tar has the right digest. */
  readonly size?: number
}

export async function verifyKept({ trees, ...claims }: VerifyJob, pace: Pace): Promise<LayerFindings> {
  using tree = new HostFs({ ...trees.files, readOnly: true })
  using lower = openLower(trees)
  const changes =
    trees.form === 'merged' && trees.snapshot !== undefined ? diffChanges(trees.snapshot) : undefined
  return await verifyLayer({ trees: { form: trees.form, tree, lower, changes }, ...claims }, pace)
}

function openLower(trees: KeptTreesSpec): HostFs | UnionFs | undefined {
  if (trees.form === 'merged') return trees.lower && new HostFs({ ...trees.lower, readOnly: true })
  return trees.lowers.length === 0 ? undefined : new UnionFs({ kind: 'union', lowers: trees.lowers })
}

/**
 * Finds no fault if the files give the bytes of the DiffID and the tree matches its tar. One pass reads each file of
 * the layer once.
 */
export async function verifyLayer(
  { trees, diffId, size: recorded, tarSplit }: Verifying,
  pace: Pace,
): Promise<LayerFindings> {
  const crc = await Crc64.load()
  const model = new LayerModel(trees.tree, trees.lower, crc)
  const hash = createHash('sha256')
  for await (const chunk of assemble(tarSplit, trees.tree, model)) {
    hash.update(chunk)
    giveBack(chunk)
    await pace.yieldIfDue()
  }
  const found = hash.digest('hex')
  if (found !== hexOf(diffId)) return { faults: [`its files produce the tar sha256:${found}, not ${diffId}`] }
  const { size } = model.finish()
  const faults = await toldOf({ ...trees, model, crc }, pace)
  return { faults: [...faults, ...sizeFault(recorded, size, model)], size }
}

async function toldOf(kept: KeptLayer, pace: Pace): Promise<string[]> {
  const told: string[] = []
  let count = 0
  for (const difference of layerDifferences(kept)) {
    const turn = pace.yieldIfDue()
    if (turn !== undefined) await turn
    if (difference !== undefined && count++ < MOST_TOLD) told.push(difference)
  }
  return count > MOST_TOLD ? [...told, `and ${count - MOST_TOLD} more`] : told
}

/** Docker counts each inode once, and counts symlinks by the length of their targets. */
function sizeFault(recorded: number | undefined, found: number, { tree }: LayerModel): string[] {
  if (recorded === undefined || recorded === found) return []
  const inodes = new Map<bigint, number>()
  for (const { stat } of walk(tree)) if (stat.type !== 'directory') inodes.set(stat.ino, stat.size)
  const dockers = [...inodes.values()].reduce((sum, each) => sum + each, 0)
  return recorded === dockers ? [] : [`its recorded size is ${recorded} bytes instead of ${found}`]
}
