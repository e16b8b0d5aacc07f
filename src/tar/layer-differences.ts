import { constants } from 'node:fs'
import { bytesToText, joinBytes, parentOf, type ByteString } from '../fs/bytes.js'
import { isTime, objectDifferences } from '../fs/trees/object-differences.js'
import { readOverlayDir, type MarkedFs, type OverlayDir } from '../fs/overlay-marks.js'
import type { FileType, SyncDirent, SyncFs, SyncStat, TreeChange } from '../fs/sync-fs.js'
import { holdsPieces, sameContent } from './content-differences.js'
import type { Crc64 } from './crc64.js'
import { statOrNothing } from '../fs/stat-or-nothing.js'
import type { LayerModel, ModelContent } from './layer-model.js'

const ROOT = '' as ByteString

/** A layer's tree as the driver keeps it, and what to compare it with. */
export interface KeptLayer {
  readonly model: LayerModel
  /**
   * - `overlay`: `tree` holds only this layer, with whiteouts and opaque directories.
   * - `merged`: `tree` holds what a container sees.
   */
  readonly form: 'overlay' | 'merged'
  readonly tree: SyncFs
  /** The merged tree of the layers below. */
  readonly lower: SyncFs | undefined
  /**
   * For `merged`: what the driver knows to differ from `lower`. Other objects that the layer does not mention are not
   * compared.
   * @default both trees are compared, including contents
   */
  readonly changes?: Iterable<Pick<TreeChange, 'kind' | 'path'> | undefined> | undefined
  readonly crc: Crc64
}

/**
 * Yields the differences between what a container would see and the layer's tar: one sentence each, with the path
 * first. Often yields `undefined` in between, so that callers can yield to the event loop.
 */
export type Differences = Generator<string | undefined, void, void>

export function layerDifferences(kept: KeptLayer): Differences {
  return kept.form === 'overlay' ? new OverlayComparison(kept).run() : new MergedComparison(kept).run()
}

/** Shared by both forms: compares the layer's objects with what its tar says. */
abstract class Comparison {
  readonly model: LayerModel
  readonly tree: SyncFs
  readonly lower: SyncFs | undefined
  readonly crc: Crc64
  /** Pairs of inodes in the model and the tree, for objects that have several names. */
  readonly #partners = new Map<bigint, string>()
  readonly #taken = new Map<string, bigint>()

  constructor({ model, tree, lower, crc }: KeptLayer) {
    this.model = model
    this.tree = tree
    this.lower = lower
    this.crc = crc
  }

  abstract run(): Differences

  /** Compares an object of the layer. */
  protected *object(path: ByteString): Differences {
    const stat = this.tree.lstat(path)
    const wanted = this.#expectation(path, stat)
    const expected = { fs: this.model.tree, path, stat: wanted }
    for (const what of objectDifferences(expected, this.tree, path, stat)) yield told(path, what)
    if (stat.type !== wanted.type) return
    if (stat.nlink > 1 || wanted.nlink > 1) yield* this.#links(path, stat, wanted)
    if (wanted.type === 'file' && stat.size === wanted.size) yield* this.#content(path, stat)
  }

  /** The root has no entry in a tar, so it must match the layers below. */
  protected *root(): Differences {
    const stat = this.tree.lstat(ROOT)
    const fs = this.lower ?? this.model.tree
    const wanted = { ...fs.lstat(ROOT), mtimeNs: stat.mtimeNs }
    for (const what of objectDifferences({ fs, path: ROOT, stat: wanted }, this.tree, ROOT, stat)) {
      yield told(ROOT, what)
    }
  }

  /**
   * An implied directory has no entry, so not every program that unpacks layers knows its time. Docker makes it 0755
   * and root's. This library takes the attributes of the directory below. Both are accepted.
   */
  #expectation(path: ByteString, stat: SyncStat): SyncStat {
    const wanted = this.model.tree.lstat(path)
    if (wanted.type !== 'directory' || stat.type !== 'directory' || !this.model.isImplied(path)) return wanted
    const isDockers = stat.mode === 0o755 && stat.uid === 0 && stat.gid === 0
    const { mode, uid, gid } = isDockers ? stat : wanted
    return { ...wanted, mode, uid, gid, mtimeNs: stat.mtimeNs }
  }

  /** Two names must link to one object in the tree if, and only if, they do in the tar. */
  *#links(path: ByteString, stat: SyncStat, wanted: SyncStat): Differences {
    if (stat.type === 'directory') return
    const inode = `${stat.dev}:${stat.ino}`
    const [partner, taken] = [this.#partners.get(wanted.ino), this.#taken.get(inode)]
    if (partner === undefined) this.#partners.set(wanted.ino, inode)
    if (taken === undefined) this.#taken.set(inode, wanted.ino)
    if (partner !== undefined && partner !== inode)
      yield told(path, 'is not a hard link to the expected file')
    if (taken !== undefined && taken !== wanted.ino) yield told(path, 'is a hard link to an unexpected file')
  }

  *#content(path: ByteString, stat: SyncStat): Differences {
    const content = this.model.tree.referenceOf(path)
    if (content === undefined) return
    if (!('record' in content)) {
      yield* this.sameAs(content.fs, content.path, path)
      return
    }
    const { record } = content as ModelContent
    if (record.isVerified) return
    const file = this.tree.open(path, constants.O_RDONLY)
    try {
      if (!(yield* holdsPieces(file, stat, record.pieces, this.crc))) yield told(path, CHANGED)
    } finally {
      file.close()
    }
  }

  protected *sameAs(fs: SyncFs, original: ByteString, path: ByteString): Differences {
    if (!(yield* sameContent(fs, original, this.tree, path))) yield told(path, CHANGED)
  }
}

const CHANGED = 'its content has changed'
const UNTOLD = 'is not in the tar'
const MISSING = 'is missing'

/** Whether lower layers' content shows in a directory, by the tar (`wanted`) and by the tree (`is`). */
interface Shown {
  readonly wanted: boolean
  readonly is: boolean
}

class OverlayComparison extends Comparison {
  run(): Differences {
    return this.#run()
  }

  *#run(): Differences {
    yield* this.root()
    yield* this.#directory(ROOT, { wanted: true, is: true })
  }

  *#directory(path: ByteString, above: Shown): Differences {
    const wanted = readOverlayDir(this.model.tree, path)
    const is = readOverlayDir(this.tree as MarkedFs, path)
    if (is.redirected) yield told(path, 'is redirected to another directory of the lower layers')
    const shown = { wanted: above.wanted && !wanted.opaque, is: above.is && !is.opaque }
    yield* this.#hidden(path, wanted, is, shown)
    const types = typesOf(wanted.entries)
    for (const { name, type } of is.entries) {
      const child = joinBytes(path, name)
      const own = types.get(name)
      types.delete(name)
      yield
      if (own === undefined) {
        if (type !== 'socket') yield told(child, UNTOLD)
        continue
      }
      yield* this.object(child)
      if (type !== 'directory' || own !== 'directory') continue
      yield* this.#directory(child, {
        wanted: shown.wanted && !wanted.whiteouts.has(name),
        is: shown.is && !is.whiteouts.has(name),
      })
    }
    for (const name of types.keys()) yield told(joinBytes(path, name), MISSING)
  }

  /** The same names can be hidden in several ways. Only names that lower layers have count. */
  *#hidden(path: ByteString, wanted: OverlayDir, is: OverlayDir, shown: Shown): Differences {
    if (shown.wanted === shown.is && (!shown.is || sameNames(wanted.whiteouts, is.whiteouts))) return
    for (const { name } of lowerNames(this.lower, path)) {
      const shouldShow = shown.wanted && !wanted.whiteouts.has(name)
      const shows = shown.is && !is.whiteouts.has(name)
      if (shouldShow === shows) continue
      const child = joinBytes(path, name)
      // The layer has an object there. Only a directory lets lower objects show.
      if (this.#covers(child, wanted, name) && this.#covers(child, is, name)) continue
      yield told(child, shows ? 'is visible, but the layer removes it' : 'is hidden, but the layer keeps it')
    }
  }

  #covers(path: ByteString, { entries }: OverlayDir, name: ByteString): boolean {
    const entry = entries.find((each) => each.name === name)
    if (entry === undefined) return false
    return entry.type !== 'directory' || statOrNothing(this.lower as SyncFs, path)?.type !== 'directory'
  }
}

class MergedComparison extends Comparison {
  readonly #changes: KeptLayer['changes']

  constructor(kept: KeptLayer) {
    super(kept)
    this.#changes = kept.changes
  }

  run(): Differences {
    return this.#run()
  }

  *#run(): Differences {
    yield* this.root()
    if (this.lower !== undefined && this.#changes !== undefined) yield* this.#changed(this.#changes)
    yield* this.#directory(ROOT, this.lower !== undefined)
  }

  /** Compares a directory of the layer. `shows`: lower layers' content shows in it unless the layer says otherwise. */
  *#directory(path: ByteString, shows: boolean): Differences {
    const wanted = readOverlayDir(this.model.tree, path)
    const inherits = shows && !wanted.opaque
    const types = typesOf(wanted.entries)
    const inherited = this.#inherited(path, inherits, wanted, types)
    for (const { name, type } of this.tree.readdir(path)) {
      const child = joinBytes(path, name)
      const own = types.get(name)
      yield
      if (own !== undefined) {
        types.delete(name)
        yield* this.object(child)
        if (own === 'directory' && type === 'directory') {
          yield* this.#directory(child, inherits && !wanted.whiteouts.has(name) && this.#isLower(child))
        }
      } else if (inherited.delete(name)) {
        if (this.#changes === undefined) yield* this.#unchanged(child)
      } else if (type !== 'socket') yield told(child, UNTOLD)
    }
    for (const name of [...types.keys(), ...inherited]) yield told(joinBytes(path, name), MISSING)
  }

  #inherited(
    path: ByteString,
    inherits: boolean,
    { whiteouts }: OverlayDir,
    own: ReadonlyMap<ByteString, FileType>,
  ): Set<ByteString> {
    if (!inherits) return new Set()
    const names = lowerNames(this.lower, path).map(({ name }) => name)
    return new Set(names.filter((name) => !whiteouts.has(name) && !own.has(name)))
  }

  #isLower(path: ByteString): boolean {
    return statOrNothing(this.lower as SyncFs, path)?.type === 'directory'
  }

  /** Compares an object that the layer does not mention, recursively. It must match the layers below. */
  *#unchanged(path: ByteString): Differences {
    const lower = this.lower as SyncFs
    const [stat, below] = [this.tree.lstat(path), lower.lstat(path)]
    if (stat.dev === below.dev && stat.ino === below.ino) return
    yield* this.#unchangedObject(path, stat, below)
    if (stat.type !== 'directory' || below.type !== 'directory') return
    const missing = new Set(lower.readdir(path).map(({ name }) => name))
    for (const { name, type } of this.tree.readdir(path)) {
      yield
      const child = joinBytes(path, name)
      if (missing.delete(name)) yield* this.#unchanged(child)
      else if (type !== 'socket') yield told(child, UNTOLD)
    }
    for (const name of missing) yield told(joinBytes(path, name), MISSING)
  }

  *#unchangedObject(path: ByteString, stat: SyncStat, below: SyncStat): Differences {
    const fs = this.lower as SyncFs
    // No tar records a change of only a directory's time, as when a container adds a file and removes it.
    const isUntimed = below.type === 'directory' || isTime(stat.mtimeNs, below)
    const expected = isUntimed ? { ...below, mtimeNs: stat.mtimeNs } : below
    for (const what of objectDifferences({ fs, path, stat: expected }, this.tree, path, stat)) {
      yield told(path, what)
    }
    const areFiles = stat.type === 'file' && below.type === 'file'
    if (areFiles && stat.size === below.size) yield* this.sameAs(fs, path, path)
  }

  /**
   * Compares what the driver reports as changed. The layer's own objects and the names in its directories are compared
   * elsewhere.
   */
  *#changed(changes: NonNullable<KeptLayer['changes']>): Differences {
    for (const change of changes) {
      yield
      if (change === undefined || this.#isOwn(change.path)) continue
      const [stat, below] = [this.tree, this.lower as SyncFs].map((fs) => statOrNothing(fs, change.path))
      if (stat !== undefined && below !== undefined) yield* this.#unchangedObject(change.path, stat, below)
      else if (!this.#isOwn(parentOf(change.path)) && stat?.type !== 'socket') {
        yield told(change.path, stat === undefined ? MISSING : UNTOLD)
      }
    }
  }

  #isOwn(path: ByteString): boolean {
    return statOrNothing(this.model.tree, path) !== undefined
  }
}

function lowerNames(lower: SyncFs | undefined, path: ByteString): SyncDirent[] {
  if (lower === undefined) return []
  return path === '' || statOrNothing(lower, path)?.type === 'directory' ? lower.readdir(path) : []
}

function typesOf(entries: readonly SyncDirent[]): Map<ByteString, FileType> {
  return new Map(entries.map(({ name, type }) => [name, type]))
}

function sameNames(some: ReadonlySet<ByteString>, others: ReadonlySet<ByteString>): boolean {
  return some.size === others.size && [...some].every((name) => others.has(name))
}

function told(path: ByteString, what: string): string {
  return `/${bytesToText(path)}: ${what}`
}
