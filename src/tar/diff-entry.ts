import { constants } from 'node:fs'
import { StoreError } from '../errors.js'
import { baseOf, bytesToText, type ByteString } from '../fs/bytes.js'
import { xattrsOf } from '../fs/trees/compare.js'
import { isMarkName, isOverlayXattr } from '../fs/overlay-marks.js'
import { shownXattr } from '../fs/union/overlay-xattr.js'
import type { SyncFile, SyncFs, SyncStat, TreeChange } from '../fs/sync-fs.js'
import { encodeHeader, paddingOf } from './encode.js'
import type { TarEntryType, TarHeader, TarPart } from './part.js'
import { OPAQUE_NAME, whiteoutName } from './whiteout.js'

const CHUNK = 1 << 18
const NOTHING = '' as ByteString
const NO_XATTRS: ReadonlyMap<ByteString, Buffer> = new Map()
const NO_DEVICE = { major: 0, minor: 0 }

export interface DiffOptions {
  /** Later times become this one, as `SOURCE_DATE_EPOCH` asks for. @default times are kept */
  readonly clampMtimeNs?: bigint | undefined
  /** Called for each object whose time in the tree is later than in the tar. */
  readonly onClamped?: ((path: ByteString) => void) | undefined
  /** Returns the buffer for the next piece of content. @default a buffer of the writer's own */
  readonly contentBuffer?: (() => Buffer) | undefined
}

export interface TarChange extends TreeChange {
  /** A regular file, open until the next change is requested. */
  readonly file?: SyncFile | undefined
  /** Whether the directory hides the content of the lower one. */
  readonly opaque?: boolean
}

/** The tree that an {@link EntryWriter} reads. */
export interface WrittenTree {
  readonly upper: SyncFs
  /** Whether the tree is an overlayfs upper directory, not a merged tree. */
  readonly overlay: boolean
  /** See `OverlaySource`. */
  readonly mount?: 'trusted' | 'user' | undefined
}

/**
 * Turns changes into tar entries. Throws `LAYER_INVALID` for an object that a layer cannot hold, because its name,
 * device number or xattrs mark removals in a layer.
 */
export class EntryWriter {
  readonly #fs: SyncFs
  readonly #tree: WrittenTree
  readonly #clampMtimeNs: bigint | undefined
  readonly #onClamped: DiffOptions['onClamped']
  readonly #contentBuffer: () => Buffer
  /** The first name of each inode with more than one. */
  readonly #links = new Map<string, ByteString>()

  constructor(tree: WrittenTree, { clampMtimeNs, onClamped, contentBuffer = ownBuffer() }: DiffOptions) {
    this.#fs = tree.upper
    this.#tree = tree
    this.#clampMtimeNs = clampMtimeNs
    this.#onClamped = onClamped
    this.#contentBuffer = contentBuffer
  }

  /** A tar cannot hold sockets, but what a socket replaced is still removed. */
  *entry({ kind, path, stat, opaque, file }: TarChange): Generator<TarPart> {
    if (isMarkName(baseOf(path))) throw unstorable(path, 'names that begin with .wh. mark removed files')
    if (stat === undefined || stat.type === 'socket') {
      if (kind !== 'add') yield header(emptyFile(whiteoutName(path)))
    } else {
      if (isWhiteoutDevice(stat)) throw unstorable(path, 'a character device 0:0 marks a removed file')
      yield* this.#object(path, stat, file)
      if (opaque === true) yield header(emptyFile(`${path}/${OPAQUE_NAME}` as ByteString))
    }
  }

  *#object(path: ByteString, stat: SyncStat, file: SyncFile | undefined): Generator<TarPart> {
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

  #firstName(path: ByteString, { type, nlink, dev, ino }: SyncStat): ByteString | undefined {
    if (nlink < 2 || type === 'directory') return undefined
    const inode = `${dev}:${ino}`
    const first = this.#links.get(inode)
    if (first === undefined) this.#links.set(inode, path)
    return first
  }

  /** Leaves out xattrs that overlayfs itself set. */
  #xattrs(path: ByteString, file: SyncFile | undefined): TarHeader['xattrs'] {
    return xattrsOf(this.#fs, path, file, (name) => {
      if (!isOverlayXattr(name)) return false
      const { overlay, mount } = this.#tree
      if (
        overlay &&
        shownXattr(name) === undefined &&
        (mount === undefined || name.startsWith(`${mount}.overlay.`))
      )
        return true
      throw unstorable(path, `its xattr ${bytesToText(name)} is reserved for overlayfs`)
    })
  }

  #header(path: ByteString, stat: SyncStat, file: SyncFile | undefined): TarHeader {
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
      xattrs: this.#xattrs(path, file),
    }
  }

  #clamped(path: ByteString, mtimeNs: bigint): bigint {
    const clamp = this.#clampMtimeNs
    if (clamp === undefined || mtimeNs <= clamp) return mtimeNs
    this.#onClamped?.(path)
    return clamp
  }

  /**
   * The header is already written. So a file that shrinks meanwhile is padded with zeros, and one that grows is cut
   * off.
   */
  *#content(path: ByteString, size: number, opened: SyncFile | undefined): Generator<TarPart> {
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

/** As Docker writes names: relative, with a slash after a directory. */
function nameOf(path: ByteString, { type }: SyncStat): ByteString {
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

function isWhiteoutDevice({ type, device }: SyncStat): boolean {
  return type === 'char' && device.major === 0 && device.minor === 0
}

/** A program in a container can make an object that no layer can hold. */
function unstorable(path: ByteString, why: string): StoreError {
  const shown = `/${bytesToText(path)}`
  return new StoreError('LAYER_INVALID', `a layer cannot contain ${shown}: ${why}`, {
    path: shown,
    hint: 'rename or remove it in the container',
  })
}
