import { compareBytes, joinBytes, type ByteString } from '../fs/bytes.js'
import { compareTrees } from '../fs/trees/compare.js'
import { compareSnapshot, writtenSince } from '../fs/trees/compare-snapshot.js'
import type { WrittenInodes } from '../fs/trees/compare-written.js'
import { copyEvidence, readCopyRecord, snapshotEvidence, type Evidence } from '../fs/trees/evidence.js'
import { HostFs } from '../fs/host/host-fs.js'
import { openSyncFs } from '../fs/union/open-sync-fs.js'
import { readOverlayDir } from '../fs/overlay-marks.js'
import type { Comparison, SyncFile, SyncFs, TreeChange } from '../fs/sync-fs.js'
import type { HostFsSpec, SyncFsSpec } from '../fs/spec.js'
import { UnionFs } from '../fs/union/union-fs.js'
import { EntryWriter, type DiffOptions, type TarChange } from './diff-entry.js'
import { END_OF_TAR } from './encode.js'
import type { TarPart } from './part.js'

const NOTHING = '' as ByteString
/** Yielded while a comparison finds no change. */
const EMPTY: TarPart = { type: 'filler', bytes: new Uint8Array(0) }

/** What to compare for a diff, as plain data. */
export type DiffSource = OverlaySource | CompareSource | SnapshotSource

/**
 * An overlayfs upper directory, which records what changed. The layers below distinguish additions from modifications.
 */
export interface OverlaySource {
  /** Distinguishes the form from the others. */
  readonly form: 'overlay'
  /** The upper directory. */
  readonly upper: HostFsSpec
  /** The layers below, uppermost first. */
  readonly lowers: readonly HostFsSpec[]
  /** Xattr namespace of the kernel's mount through which programs may have written to the upper directory. */
  readonly mount?: 'trusted' | 'user'
}

/** Two whole trees to compare. Without a `lower`, everything is new. */
export interface CompareSource {
  /** Distinguishes the form from the others. */
  readonly form: 'compare'
  /** The tree that the diff leads to. */
  readonly upper: SyncFsSpec
  /** The tree that the diff starts from. */
  readonly lower?: SyncFsSpec
  /** Set if the upper tree began as a copy of the layer `of`. `record` is the file that the copy left. */
  readonly copy?: { readonly record: string; readonly of: string }
  /**
   * Set if the upper tree began as a snapshot of the lower one: the time of the snapshot, by the file system's clock.
   */
  readonly madeAtNs?: bigint
}

/**
 * A btrfs snapshot of `lower`, made by the transaction `madeAt`. Only what was written since is compared. The caller
 * must have synced the file system, because changes that are not yet in its B-trees are not found.
 */
export interface SnapshotSource {
  /** Distinguishes the form from the others. */
  readonly form: 'snapshot'
  /** The snapshot. */
  readonly upper: HostFsSpec
  /** The subvolume that it was made of. */
  readonly lower: HostFsSpec
  /** The generation of the transaction that made the snapshot. */
  readonly madeAt: bigint
}

/** The result of {@link prepareDiff}. */
export type PreparedDiff = DiffSource | OpenTrees | (SnapshotSource & { readonly written: WrittenInodes })

/** Trees that are already open. They are compared, and stay open. */
export interface OpenTrees {
  /** The tree that the diff leads to. */
  readonly upper: SyncFs
  /** The tree that the diff starts from. Without it, everything is new. */
  readonly lower?: SyncFs
}

/**
 * Yields the tar that turns the lower tree into the upper one. The same trees give the same bytes: entries are sorted
 * by path, component by component, whiteouts are root's and dated 1970, and nothing identifies this machine.
 *
 * A content part's bytes are valid until the next part is requested. While no change is found, empty filler is yielded
 * to keep waits short. Throws `LAYER_INVALID` for an object that a layer cannot hold.
 */
export function* diffParts(source: PreparedDiff, options: DiffOptions = {}): Generator<TarPart, void, void> {
  const trees = open(source)
  try {
    const writer = new EntryWriter(trees, options)
    for (const change of changesForTar(trees)) {
      if (change === undefined) yield EMPTY
      else yield* writer.entry(change)
    }
    yield { type: 'filler', bytes: END_OF_TAR }
  } finally {
    trees.close()
  }
}

/**
 * Yields the differences in the order of the tar. They include directories whose content changed. Yields `undefined`
 * while no change is found.
 */
export function* diffChanges(
  source: PreparedDiff,
): Generator<Pick<TreeChange, 'kind' | 'path'> | undefined, void, void> {
  const trees = open(source)
  try {
    if (!trees.overlay) yield* trees.compare()
    else yield* overlayEntries(trees as Trees & OverlayTrees, trees.lower, NOTHING, false)
  } finally {
    trees.close()
  }
}

/**
 * Does the work that `diffParts` and `diffChanges` do before their first change, in small steps. They accept the result
 * as their source.
 */
export function* prepareDiff(source: DiffSource | OpenTrees): Generator<void, PreparedDiff, void> {
  if ('form' in source) {
    return source.form === 'snapshot' ? { ...source, written: yield* writtenSince(source) } : source
  }
  if (source.lower !== undefined) yield* source.upper.prepareCompare?.(source.lower) ?? []
  return source
}

interface OverlayTrees {
  readonly upper: HostFs
  readonly mount?: 'trusted' | 'user' | undefined
}

interface Trees {
  readonly upper: SyncFs
  readonly lower: SyncFs | undefined
  /** Whether the upper tree is an overlayfs upper directory, not a merged tree. */
  readonly overlay: boolean
  /** See {@link OverlaySource}. */
  readonly mount?: 'trusted' | 'user' | undefined
  /** Yields the differences, if the upper tree is a merged one. */
  compare(): Comparison
  close(): void
}

function open(source: PreparedDiff): Trees {
  if (!('form' in source))
    return {
      ...source,
      lower: source.lower,
      overlay: false,
      compare: () => compareOpen(source),
      close: () => {},
    }
  const upper = source.form === 'overlay' ? new HostFs(source.upper) : openSyncFs(source.upper)
  const lower = openLower(source)
  const close = () => {
    upper.close()
    lower?.close()
  }
  const compare = () => {
    if (source.form !== 'snapshot') return compareTrees(upper, lower, evidenceOf(source, upper, lower))
    return compareSnapshot(source, upper, lower as SyncFs, 'written' in source ? source.written : undefined)
  }
  const mount = source.form === 'overlay' ? source.mount : undefined
  return { upper, lower, overlay: source.form === 'overlay', mount, compare, close }
}

function compareOpen({ upper, lower }: OpenTrees): Comparison {
  if (lower === undefined) return compareTrees(upper, lower)
  return upper.compare?.(lower) ?? compareTrees(upper, lower, snapshotEvidence(upper, lower))
}

function evidenceOf(source: DiffSource, upper: SyncFs, lower: SyncFs | undefined): Evidence | undefined {
  if (source.form !== 'compare' || lower === undefined) return undefined
  const { copy, madeAtNs } = source
  if (madeAtNs !== undefined) return snapshotEvidence(upper, lower, madeAtNs)
  const record = copy && readCopyRecord(copy.record, copy.of)
  return record && copyEvidence(record, upper)
}

function openLower(source: DiffSource): SyncFs | undefined {
  if (source.form !== 'overlay') return source.lower === undefined ? undefined : openSyncFs(source.lower)
  return source.lowers.length === 0 ? undefined : new UnionFs({ kind: 'union', lowers: source.lowers })
}

function changesForTar(trees: Trees): Generator<TarChange | undefined> {
  return trees.overlay ? overlayEntries(trees as Trees & OverlayTrees, trees.lower, NOTHING) : trees.compare()
}

/**
 * Yields the changes that an upper directory records.
 * @param hidden whether the lower directory's content is hidden here. If given, opaque directories are reported as
 *   deletions, name by name. If absent, they are reported as opaque.
 */
function* overlayEntries(
  trees: OverlayTrees,
  lower: SyncFs | undefined,
  directory: ByteString,
  hidden?: boolean,
): Generator<TarChange> {
  const { upper, mount } = trees
  const { entries, whiteouts } = readOverlayDir(upper, directory, mount)
  const types = new Map(entries.map(({ name, type }) => [name, type]))
  const below = new Map(lower?.readdir(directory).map(({ name, type }) => [name, type]))
  const lost = hidden === true ? below.keys() : []
  for (const name of [...new Set([...types.keys(), ...whiteouts, ...lost])].toSorted(compareBytes)) {
    const path = joinBytes(directory, name)
    const kind = below.has(name) ? 'modify' : 'add'
    const type = types.get(name)
    if (type === undefined) {
      if (kind === 'modify') yield { kind: 'delete', path }
      continue
    }
    if (type !== 'directory') {
      if (hidden !== undefined) {
        yield { kind, path }
        continue
      }
      // Opening before the stat resolves the path once instead of three times.
      const file = type === 'file' ? openIfReadable(upper, path) : undefined
      try {
        yield { kind, path, stat: file?.stat() ?? upper.lstat(path), file }
      } finally {
        file?.close()
      }
      continue
    }
    const merges = below.get(name) === 'directory'
    const hides = merges && (whiteouts.has(name) || readOverlayDir(upper, path, mount).opaque)
    yield { kind, path, stat: upper.lstat(path), opaque: hides }
    if (hidden === undefined) yield* overlayEntries(trees, merges && !hides ? lower : undefined, path)
    else yield* overlayEntries(trees, merges ? lower : undefined, path, hidden || hides)
  }
}

/**
 * Returns `undefined` if the open fails. A stat of the path then shows what is there; possibly only its content is
 * unreadable.
 */
function openIfReadable(fs: HostFs, path: ByteString): SyncFile | undefined {
  try {
    return fs.openSeen(path)
  } catch {
    return undefined
  }
}
