import { bytesToBuffer, bytesToText, type ByteString } from '../fs/bytes.js'
import { openSyncFs } from '../fs/union/open-sync-fs.js'
import type { SyncFs, TreeChange } from '../fs/sync-fs.js'
import type { JobOptions } from '../jobs/work/pace.js'
import { inPace, CallerPace } from '../jobs/work/pace.js'
import { diffChanges, diffParts, prepareDiff, type OpenTrees } from '../tar/diff.js'
import type { Change, DiffOptions, DiffTrees } from './driver.js'

const CHUNK = 64 << 10

type TarOptions = JobOptions & Pick<DiffOptions, 'clampMtimeNs'>

/** The whole tree of a view as a tar. Leaves out anything mounted below the view. */
export async function* exportOf(syncFs: SyncFs, options: TarOptions): AsyncGenerator<Uint8Array, void, void> {
  const trees = wholeTrees(syncFs)
  try {
    yield* tarOf(trees, options)
  } finally {
    trees.close()
  }
}

/**
 * Opens the trees of views for work on all of their content (`SyncFs.wholeTree`). The caller closes them before the
 * views.
 */
export function wholeTrees(upper: SyncFs, lower?: SyncFs): OpenTrees & { close(): void } {
  const opened: SyncFs[] = []
  const whole = (syncFs: SyncFs): SyncFs => {
    const tree = syncFs.wholeTree?.()
    if (tree !== undefined) opened.push(tree)
    return tree ?? syncFs
  }
  const close = (): void => {
    for (const tree of opened) tree.close()
  }
  try {
    return { upper: whole(upper), ...(lower && { lower: whole(lower) }), close }
  } catch (error) {
    close()
    throw error
  }
}

/** The tar that turns the lower tree into the upper one, produced on this thread in slices. */
export async function* tarOf(
  trees: DiffTrees['trees'],
  { clampMtimeNs, ...options }: TarOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const pace = new CallerPace(options)
  let chunk = Buffer.allocUnsafeSlow(CHUNK)
  let used = 0
  let done = 0
  const prepared = await inPace(prepareDiff(trees), pace)
  for (const { bytes } of diffParts(prepared, { clampMtimeNs })) {
    // The bytes of a part are valid only until the next part is requested, so copy them.
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(CHUNK - used, bytes.length - at)
      chunk.set(bytes.subarray(at, at + taken), used)
      at += taken
      used += taken
      if (used < CHUNK) continue
      yield chunk
      pace.progress((done += CHUNK))
      chunk = Buffer.allocUnsafeSlow(CHUNK)
      used = 0
    }
    const turn = pace.yieldIfDue()
    if (turn !== undefined) await turn
  }
  if (used > 0) yield chunk.subarray(0, used)
}

export async function* changesOf(
  trees: DiffTrees['trees'],
  options: JobOptions,
): AsyncGenerator<Change, void, void> {
  const pace = new CallerPace(options)
  const prepared = await inPace(prepareDiff(trees), pace)
  for (const change of diffChanges(prepared)) {
    if (change !== undefined) yield shown(change)
    const turn = pace.yieldIfDue()
    if (turn !== undefined) await turn
  }
}

function shown({ kind, path }: Pick<TreeChange, 'kind' | 'path'>): Change {
  const absolute = `/${path}` as ByteString
  return { kind, path: bytesToText(absolute), pathBytes: bytesToBuffer(absolute) }
}

/** Returns the bytes of the regular files that were added or changed. A file with several names counts once. */
export async function sizeOf(trees: DiffTrees['trees'], options: JobOptions): Promise<number> {
  const pace = new CallerPace(options)
  const upper = upperOf(trees)
  const counted = new Set<string>()
  let size = 0
  try {
    const prepared = await inPace(prepareDiff(trees), pace)
    for (const change of diffChanges(prepared)) {
      if (change !== undefined && change.kind !== 'delete') size += bytesAt(upper, change.path, counted)
      const turn = pace.yieldIfDue()
      if (turn !== undefined) await turn
    }
    return size
  } finally {
    if ('form' in trees) upper.close()
  }
}

function upperOf(trees: DiffTrees['trees']): SyncFs {
  return 'form' in trees ? openSyncFs(trees.upper) : trees.upper
}

function bytesAt(upper: SyncFs, path: ByteString, counted: Set<string>): number {
  const { type, size, nlink, dev, ino } = upper.lstat(path)
  if (type !== 'file') return 0
  if (nlink > 1) {
    const inode = `${dev}:${ino}`
    if (counted.has(inode)) return 0
    counted.add(inode)
  }
  return size
}
