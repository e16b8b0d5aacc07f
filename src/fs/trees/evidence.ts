import { readFileSync } from 'node:fs'
import { isErrno } from '../../errors.js'
import type { ByteString } from '../bytes.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'

/**
 * Proves, without reading it, that an object holds what the lower tree's object at the same path holds. A comparison asks
 * only about objects whose attributes, sizes and times are equal.
 *
 * All evidence rests on the change time (ctime). The kernel sets it whenever an object is written, renamed or linked, and
 * no program can choose it.
 */
export interface Evidence {
  isUntouched(stat: SyncStat, below: SyncStat): boolean
  /** Whether an untouched object has the names that it had: renaming a directory changes them and touches nothing in it. */
  keepsNames(): boolean
  /** The evidence for the entries of a directory; `undefined` without any. */
  within(path: ByteString, stat: SyncStat): Evidence | undefined
}

/**
 * Of two trees that are snapshots of one another: an object with the same inode number and the same change time in both
 * was written in neither.
 * @param madeAtNs when the later one was made, by the file system's clock. An object that changed at this moment or later
 *   counts as touched, because the clock has coarse steps.
 */
export function snapshotEvidence(upper: SyncFs, lower: SyncFs, madeAtNs?: bigint): Evidence | undefined {
  if (upper.lineage === undefined || upper.lineage !== lower.lineage) return undefined
  const evidence: Evidence = {
    isUntouched: ({ ino, ctimeNs }, below) =>
      ino === below.ino &&
      ctimeNs === below.ctimeNs &&
      // A file system that keeps whole seconds cannot tell two writes of one second apart.
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
 * 1. Every object of the copy has a change time from `fromNs` on and, unless the clock stood still, before `untilNs`. Both
 *    are of the clock of the file system that holds the copy.
 * 2. Every later change sets a time of `untilNs` or later. If the clock was set back, the time is before `fromNs`.
 * 3. A rename of a directory leaves the change times of its contents alone. Therefore the record has the inode number of
 *    each directory: evidence ends at one that was not copied to this place.
 */
export interface CopyRecord {
  /** The id of the layer that was copied. */
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
  // The clock was set back: what is written now may look as if the copy had written it.
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
  try {
    return [...directories].every(([path, ino]) => copy.find(path)?.ino === ino)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false
    throw error
  }
}

/** `undefined` for a record that is missing, damaged, or of another parent: then there is no evidence. */
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

/** Paths as characters of one byte each. */
interface Stored {
  readonly parent: string
  readonly from: string
  readonly until: string
  readonly directories: readonly (readonly [path: string, ino: string])[]
}
