import { constants } from 'node:fs'
import { joinBytes, compareBytes, type ByteString } from '../fs/bytes.js'
import { compareTrees, xattrsOf, type Comparison, type TreeChange } from '../fs/compare.js'
import { copyEvidence, readCopyRecord, snapshotEvidence, type Evidence } from '../fs/evidence.js'
import { HostFs } from '../fs/host-fs.js'
import { compareSnapshot, writtenSince } from '../fs/compare-snapshot.js'
import type { WrittenInodes } from '../fs/compare-written.js'
import { openRawFs } from '../fs/open-raw-fs.js'
import { readOverlayDir } from '../fs/overlay-marks.js'
import type { RawFile, RawFs, RawStat } from '../fs/raw-fs.js'
import type { HostFsSpec, RawFsSpec } from '../fs/spec.js'
import { UnionFs } from '../fs/union-fs.js'
import { encodeHeader, END_OF_TAR, paddingOf } from './encode.js'
import type { TarEntryType, TarHeader, TarPart } from './part.js'
import { OPAQUE_NAME, whiteoutName } from './whiteout.js'

const CHUNK = 1 << 18
const NOTHING = '' as ByteString
const NO_XATTRS: ReadonlyMap<ByteString, Buffer> = new Map()
const NO_DEVICE = { major: 0, minor: 0 }
/** Tells of nothing but the time that a comparison takes. */
const EMPTY: TarPart = { type: 'filler', bytes: new Uint8Array(0) }

/** What to compare for a diff, as plain data. */
export type DiffSource =
  /** An overlayfs upper directory says itself what changed; `lowers` (uppermost first) tell adding from modifying. */
  | { readonly form: 'overlay'; readonly upper: HostFsSpec; readonly lowers: readonly HostFsSpec[] }
  | CompareSource
  | SnapshotSource

/** Two whole trees, compared; without a `lower`, everything is new. */
export interface CompareSource {
  readonly form: 'compare'
  readonly upper: RawFsSpec
  readonly lower?: RawFsSpec
  /** The upper tree began as a copy of the layer `of`, and `record` is the file that the copy left. */
  readonly copy?: { readonly record: string; readonly of: string }
  /** The upper tree began as a snapshot of the lower one, at this time by the file system's clock. */
  readonly madeAtNs?: bigint
}

/**
 * A btrfs snapshot, made of `lower` by the transaction `madeAt`: only what was written since is compared. Whoever says so
 * has synced the file system: what is not in its B-trees yet is not found.
 */
export interface SnapshotSource {
  readonly form: 'snapshot'
  readonly upper: HostFsSpec
  readonly lower: HostFsSpec
  readonly madeAt: bigint
}

/** What {@link prepareDiff} came to. */
export type PreparedDiff = DiffSource | OpenTrees | (SnapshotSource & { readonly written: WrittenInodes })

/** Trees that are open already; they are compared, and stay open. */
export interface OpenTrees {
  readonly upper: RawFs
  readonly lower?: RawFs
}

export interface DiffOptions {
  /** Later times become this one, as `SOURCE_DATE_EPOCH` asks for. @default times stay */
  readonly clampMtimeNs?: bigint | undefined
  /** Told of each object whose time is a later one in the tree than in the tar. */
  readonly onClamped?: ((path: ByteString) => void) | undefined
  /** What the next content is read to, in pieces. @default memory of its own */
  readonly contentBuffer?: (() => Buffer) | undefined
}

/**
 * The tar that turns the lower tree into the upper one. The same trees give the same bytes: entries are sorted by path,
 * component by component; whiteouts are of 1970 and root's; nothing tells of this machine.
 *
 * A content part's bytes are good until the next part is asked for. Empty filler comes while there is no change to tell of,
 * so that nobody waits long for a part.
 */
export function* diffParts(source: PreparedDiff, options: DiffOptions = {}): Generator<TarPart, void, void> {
  const trees = open(source)
  try {
    const writer = new EntryWriter(trees.upper, options)
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
 * What differs, sorted as the tar is; a directory whose content changed is on the list. `undefined` comes while there is no
 * change to tell of.
 */
export function* diffChanges(
  source: PreparedDiff,
): Generator<Pick<TreeChange, 'kind' | 'path'> | undefined, void, void> {
  const trees = open(source)
  try {
    if (!trees.overlay) yield* trees.compare()
    else yield* overlayEntries(trees.upper as HostFs, trees.lower, NOTHING, false)
  } finally {
    trees.close()
  }
}

/** What the others do before they tell of the first change, in small steps. They take what it comes to for the source. */
export function* prepareDiff(source: DiffSource | OpenTrees): Generator<void, PreparedDiff, void> {
  if ('form' in source) {
    return source.form === 'snapshot' ? { ...source, written: yield* writtenSince(source) } : source
  }
  if (source.lower !== undefined) yield* source.upper.prepareCompare?.(source.lower) ?? []
  return source
}

interface Trees {
  readonly upper: RawFs
  readonly lower: RawFs | undefined
  /** Whether the upper tree is an upper directory, and not the merged one. */
  readonly overlay: boolean
  /** What differs, if the upper tree is the merged one. */
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
  const upper = source.form === 'overlay' ? new HostFs(source.upper) : openRawFs(source.upper)
  const lower = openLower(source)
  const close = () => {
    upper.close()
    lower?.close()
  }
  const compare = () => {
    if (source.form !== 'snapshot') return compareTrees(upper, lower, evidenceOf(source, upper, lower))
    return compareSnapshot(source, upper, lower as RawFs, 'written' in source ? source.written : undefined)
  }
  return { upper, lower, overlay: source.form === 'overlay', compare, close }
}

function compareOpen({ upper, lower }: OpenTrees): Comparison {
  if (lower === undefined) return compareTrees(upper, lower)
  return upper.compare?.(lower) ?? compareTrees(upper, lower, snapshotEvidence(upper, lower))
}

function evidenceOf(source: DiffSource, upper: RawFs, lower: RawFs | undefined): Evidence | undefined {
  if (source.form !== 'compare' || lower === undefined) return undefined
  const { copy, madeAtNs } = source
  if (madeAtNs !== undefined) return snapshotEvidence(upper, lower, madeAtNs)
  const record = copy && readCopyRecord(copy.record, copy.of)
  return record && copyEvidence(record)
}

function openLower(source: DiffSource): RawFs | undefined {
  if (source.form !== 'overlay') return source.lower === undefined ? undefined : openRawFs(source.lower)
  return source.lowers.length === 0 ? undefined : new UnionFs({ kind: 'union', lowers: source.lowers })
}

interface TarChange extends TreeChange {
  /** A regular file's, open until the next change is asked for. */
  readonly file?: RawFile | undefined
  /** The directory hides what is in the lower one. */
  readonly opaque?: boolean
}

function changesForTar({ upper, lower, overlay, compare }: Trees): Generator<TarChange | undefined> {
  return overlay ? overlayEntries(upper as HostFs, lower, NOTHING) : compare()
}

/**
 * What an upper directory says.
 * @param hidden nothing of the lower directory shows here; absent where opaque directories are to stand as they are,
 *   instead of what they hide, name by name
 */
function* overlayEntries(
  upper: HostFs,
  lower: RawFs | undefined,
  directory: ByteString,
  hidden?: boolean,
): Generator<TarChange> {
  const { entries, whiteouts } = readOverlayDir(upper, directory)
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
      // Opened first and looked at then, its path is gone through once instead of three times.
      const file = type === 'file' ? openIfReadable(upper, path) : undefined
      try {
        yield { kind, path, stat: file?.stat() ?? upper.lstat(path), file }
      } finally {
        file?.close()
      }
      continue
    }
    const merges = below.get(name) === 'directory'
    const hides = merges && (whiteouts.has(name) || readOverlayDir(upper, path).opaque)
    yield { kind, path, stat: upper.lstat(path), opaque: hides }
    if (hidden === undefined) yield* overlayEntries(upper, merges && !hides ? lower : undefined, path)
    else yield* overlayEntries(upper, merges ? lower : undefined, path, hidden || hides)
  }
}

/** `undefined` where the look at its path is to tell what is there, or where only its content is refused. */
function openIfReadable(fs: HostFs, path: ByteString): RawFile | undefined {
  try {
    return fs.openSeen(path)
  } catch {
    return undefined
  }
}

/** Makes entries of changes. */
class EntryWriter {
  readonly #fs: RawFs
  readonly #clampMtimeNs: bigint | undefined
  readonly #onClamped: DiffOptions['onClamped']
  readonly #contentBuffer: () => Buffer
  /** The first name of each inode with more than one. */
  readonly #links = new Map<string, ByteString>()

  constructor(fs: RawFs, { clampMtimeNs, onClamped, contentBuffer = ownBuffer() }: DiffOptions) {
    this.#fs = fs
    this.#clampMtimeNs = clampMtimeNs
    this.#onClamped = onClamped
    this.#contentBuffer = contentBuffer
  }

  /** A tar cannot hold sockets; what one replaced is gone all the same. */
  *entry({ kind, path, stat, opaque, file }: TarChange): Generator<TarPart> {
    if (stat === undefined || stat.type === 'socket') {
      if (kind !== 'add') yield header(emptyFile(whiteoutName(path)))
    } else {
      yield* this.#object(path, stat, file)
      if (opaque === true) yield header(emptyFile(`${path}/${OPAQUE_NAME}` as ByteString))
    }
  }

  *#object(path: ByteString, stat: RawStat, file: RawFile | undefined): Generator<TarPart> {
    const first = this.#firstName(path, stat)
    if (first !== undefined) {
      yield header({
        ...this.#header(path, stat, file),
        type: 'link',
        linkName: first,
        size: 0,
        xattrs: NO_XATTRS,
      })
      return
    }
    yield header(this.#header(path, stat, file))
    if (stat.type === 'file' && stat.size > 0) yield* this.#content(path, stat.size, file)
  }

  #firstName(path: ByteString, { type, nlink, dev, ino }: RawStat): ByteString | undefined {
    if (nlink < 2 || type === 'directory') return undefined
    const inode = `${dev}:${ino}`
    const first = this.#links.get(inode)
    if (first === undefined) this.#links.set(inode, path)
    return first
  }

  #header(path: ByteString, stat: RawStat, file: RawFile | undefined): TarHeader {
    return {
      name: nameOf(path, stat),
      type: stat.type as TarEntryType,
      mode: stat.mode,
      uid: stat.uid,
      gid: stat.gid,
      userName: NOTHING,
      groupName: NOTHING,
      size: stat.type === 'file' ? stat.size : 0,
      mtimeNs: this.#clamped(path, stat.mtimeNs),
      linkName: stat.type === 'symlink' ? this.#fs.readlink(path) : NOTHING,
      device: stat.device,
      xattrs: xattrsOf(this.#fs, path, file),
    }
  }

  #clamped(path: ByteString, mtimeNs: bigint): bigint {
    const clamp = this.#clampMtimeNs
    if (clamp === undefined || mtimeNs <= clamp) return mtimeNs
    this.#onClamped?.(path)
    return clamp
  }

  /** A file that shrinks meanwhile is filled up with zeros, and one that grows cut off: its header is written. */
  *#content(path: ByteString, size: number, opened: RawFile | undefined): Generator<TarPart> {
    const file = opened ?? this.#fs.openSeen?.(path) ?? this.#fs.open(path, constants.O_RDONLY)
    try {
      for (let position = 0; position < size;) {
        const wanted = this.#contentBuffer().subarray(0, size - position)
        const count = file.read(wanted, position)
        if (count === 0) wanted.fill(0)
        const bytes = count === 0 ? wanted : wanted.subarray(0, count)
        yield { type: 'content', bytes }
        position += bytes.length
      }
    } finally {
      if (file !== opened) file.close()
    }
    if (paddingOf(size).length > 0) yield { type: 'filler', bytes: paddingOf(size) }
  }
}

function ownBuffer(): () => Buffer {
  let buffer: Buffer | undefined
  return () => (buffer ??= Buffer.allocUnsafeSlow(CHUNK))
}

/** As Docker writes it: relative, a directory with a slash behind. */
function nameOf(path: ByteString, { type }: RawStat): ByteString {
  return type === 'directory' ? (`${path}/` as ByteString) : path
}

function header(entry: TarHeader): TarPart {
  return { type: 'header', header: entry, bytes: encodeHeader(entry) }
}

function emptyFile(name: ByteString): TarHeader {
  return {
    name,
    type: 'file',
    mode: 0o600,
    uid: 0,
    gid: 0,
    userName: NOTHING,
    groupName: NOTHING,
    size: 0,
    mtimeNs: 0n,
    linkName: NOTHING,
    device: NO_DEVICE,
    xattrs: NO_XATTRS,
  }
}
