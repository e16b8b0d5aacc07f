import { readFileSync } from 'node:fs'
import type { ByteString } from '../bytes.js'
import { statOrNothing } from '../stat-or-nothing.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'

/**
 * Proves, without reading it, that an object holds the same as the lower tree's object at the same path. A comparison
 * asks only about objects whose attributes, sizes and times are equal.
 *
 * All evidence rests on the change time (ctime). The kernel sets it whenever an object is written, renamed or linked,
 * and no program can choose it.
 */
export interface Evidence {
  isUntouched(stat: SyncStat, below: SyncStat): boolean
  /**
   * Whether an untouched object still has its old names. Renaming a directory changes the names of its contents without
   * touching them.
   */
  keepsNames(): boolean
  /** Evidence for the entries of a directory, or `undefined` if none exists. */
  within(path: ByteString, stat: SyncStat): Evidence | undefined
}

/**
 * Evidence from two trees that are snapshots of one another. An object with the same inode number and the same change
 * time in both was written in neither.
 * @param madeAtNs when the later one was made, by the file system's clock. An object that changed at this moment or
 *   later counts as touched, because the clock has coarse steps.
 */
export function snapshotEvidence(upper: SyncFs, lower: SyncFs, madeAtNs?: bigint): Evidence | undefined {
  if (upper.lineage === undefined || upper.lineage !== lower.lineage) return undefined
  const evidence: Evidence = {
    isUntouched: ({ ino, ctimeNs }, below) =>
      ino === below.ino &&
      ctimeNs === below.ctimeNs &&
      // In whole seconds, two writes within one second look the same.
      ctimeNs % SECOND !== 0n &&
      (madeAtNs === undefined || ctimeNs < madeAtNs),
    keepsNames: () => false,
    within: () => evidence,
  }
  return evidence
}

const SECOND = 1_000_000_000n

/**
 * What a copy of a tree records about itself.
 *
 * 1. Every object of the copy has a change time of `fromNs` or later and, unless the clock stood still, before
 *    `untilNs`. Both come from the clock of the file system that holds the copy.
 * 2. Every later change sets a time of `untilNs` or later. If the clock was set back, the time is before `fromNs`.
 * 3. Renaming a directory leaves the change times of its contents unchanged. So the record holds the inode number of
 *    each directory, and evidence ends at a directory that was not copied to this place.
 */
export interface CopyRecord {
  /** ID of the layer that was copied. */
  readonly parent: string
  readonly fromNs: bigint
  readonly untilNs: bigint
  readonly directories: ReadonlyMap<ByteString, bigint>
}

export function copyEvidence(
  { fromNs, untilNs, directories }: CopyRecord,
  copy: SyncFs,
): Evidence | undefined {
  const nowNs = BigInt(Date.now()) * 1_000_000n
  // The clock was set back: a new write may look as if the copy had made it.
  if (nowNs < untilNs) return undefined
  let keepsNames: boolean | undefined
  const evidence: Evidence = {
    isUntouched: ({ ctimeNs }) => fromNs <= ctimeNs && ctimeNs < untilNs,
    keepsNames: () => (keepsNames ??= areInPlace(directories, copy)),
    within: (path, { ino }) => (directories.get(path) === ino ? evidence : undefined),
  }
  return evidence
}

function areInPlace(directories: CopyRecord['directories'], copy: SyncFs): boolean {
  return [...directories].every(([path, ino]) => statOrNothing(copy, path)?.ino === ino)
}

/** Returns `undefined`, that is, no evidence, if the record is missing, damaged, or of another parent. */
export function readCopyRecord(file: string, parent: string): CopyRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(file, 'utf8')) as Stored
    if (record.parent !== parent) return undefined
    return {
      parent,
      fromNs: BigInt(record.from),
      untilNs: BigInt(record.until),
      directories: new Map(record.directories.map(([path, ino]) => [path as ByteString, BigInt(ino)])),
    }
  } catch {
    return undefined
  }
}

export function encodeCopyRecord({ parent, fromNs, untilNs, directories }: CopyRecord): string {
  const stored: Stored = {
    parent,
    from: String(fromNs),
    until: String(untilNs),
    directories: [...directories].map(([path, ino]) => [path, String(ino)]),
  }
  return JSON.stringify(stored)
}

/** Paths have one character per byte. */
interface Stored {
  readonly parent: string
  readonly from: string
  readonly until: string
  readonly directories: readonly (readonly [path: string, ino: string])[]
}
