import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { isErrno, StoreError, storeError, type StoreErrorOptions } from '../errors.js'
import { DEFAULT_ACL } from '../fs/host/acl.js'
import { statOrNothing } from '../fs/stat-or-nothing.js'
import { isDeviceNumber, isId, MAX_ID } from '../fs/attributes.js'
import { baseOf, bytesToText, joinBytes, parentOf, type ByteString } from '../fs/bytes.js'
import { copyContent } from '../fs/copy-content.js'
import { MemoryFs, type FileReference } from '../fs/memory/memory-fs.js'
import { isOverlayXattr } from '../fs/overlay-marks.js'
import { HostFs } from '../fs/host/host-fs.js'
import type { FileType, SyncFile, SyncFs } from '../fs/sync-fs.js'
import type { HostFsSpec } from '../fs/spec.js'
import { UnionFs } from '../fs/union/union-fs.js'
import { limitExceeded } from '../limits.js'
import { cleanName } from './clean-name.js'
import {
  dropInheritedAcl,
  handsOnAcl,
  IMPLIED,
  type ApplyDestination,
  type OwnType,
  type Times,
} from './apply-destination.js'
import { MergedDestination } from './merged-destination.js'
import { OverlayDestination } from './overlay-destination.js'
import type { TarHeader, TarPart } from './part.js'
import { SparseContent } from './sparse.js'
import { setFileAttributes, writeAll, type TakeFile } from './whole-file.js'
import { meaningOf, pseudoLinkOf } from './whiteout.js'

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants
const MAX_LINKS = 40
/** Most components that a path may lead through, including those of symlinks on its way. PATH_MAX fits as many. */
const MAX_STEPS = 2048
/** PATH_MAX without the NUL. */
const MAX_PATH = 4095
const CHUNK = 1 << 20

/** Where and how to apply a layer's tar, as plain data. */
export interface ApplyTarget {
  /** The tree to write. */
  readonly files: HostFsSpec
  /**
   * - `merged`: the tree already holds the lower layers' content. A whiteout removes an object, an opaque marker
   *   empties a directory.
   * - `overlay`: the tree holds only this layer, as an overlayfs upper directory. It records whiteouts and opaque
   *   directories. `lowers` are read for what an entry takes from below (implied parents, hard links).
   */
  readonly form: 'merged' | 'overlay'
  /** Uppermost first; empty for `merged`. */
  readonly lowers: readonly HostFsSpec[]
}

/** A tree that is already open. It stays open. */
export interface OpenTarget {
  readonly syncFs: SyncFs
  /** If present, `syncFs` is empty and receives the layer in overlay form, over this tree of the lower layers. */
  readonly over?: { readonly lower: SyncFs | undefined }
}

export interface ApplyOptions {
  /**
   * Called before an entry removes the content of an earlier entry that was reported as stored. Entries are counted
   * from 0, by their header parts.
   */
  readonly onDisplace?: (entryNumber: number, readOld: () => Iterable<Uint8Array>) => void
  /**
   * Returns the location of a file's whole content. A `MemoryFs` refers to it; other trees clone it instead of writing
   * parts. The file's content parts are skipped and may be missing. `undefined` means that the content is in the parts.
   */
  readonly contents?: (header: TarHeader, path: ByteString) => FileReference | undefined
  /** Most entries and implied directories in the layer; more throw `LIMIT_EXCEEDED`. @default Infinity */
  readonly maxObjects?: number | undefined
  /**
   * Called for each file whose content is one part, without xattrs and not sparse. If it returns true, it takes over
   * the file, and its provider reports when the file is complete.
   */
  readonly takeFile?: TakeFile | undefined
}

/** The entry number of implied directories and of objects taken from lower layers. */
const IMPLIED_ENTRY = -1

/** An object that this layer has at a path. */
interface Own {
  readonly type: FileType
  /** The number of the entry that brought it, or `IMPLIED_ENTRY`. */
  readonly entry: number
  /** Whether its content can be read back at this path. */
  readonly stored: boolean
}

/**
 * Applies a layer's tar part by part. The rules are those of the OCI image-spec (layer, Applying Changesets) and of
 * implementations that got them right:
 *
 * - Names are cleaned. A name that climbs out of the root is `LAYER_INVALID`.
 * - A whiteout or an opaque marker hides what lower layers have, and nothing of this layer, regardless of its position.
 * - An entry replaces what exists, but a directory merges with a directory and sets its own attributes.
 * - A parent without an entry takes the lower directory's attributes. If none exists, it is root's, 0755, dated
 *   1970. A lower symlink there is shadowed, never followed. A symlink of this layer is followed, inside the root.
 * - Hard links point to earlier entries, to AUFS pseudo-links, or to lower files. A link to a lower file joins all its
 *   names.
 * - What is taken from lower layers for a hard link still counts as theirs, and is hidden like it.
 * - Attributes are set in the order owner, xattrs, mode, times, because setting an earlier one can clear a later one.
 *   Times of directories are set at the end.
 */
export class LayerApplier {
  readonly #ground: ApplyDestination
  readonly #fs: SyncFs
  /** Whether this applier opened the tree. */
  readonly #opened: boolean
  readonly #options: ApplyOptions
  readonly #own = new Map<ByteString, Own>([
    ['' as ByteString, { type: 'directory', entry: IMPLIED_ENTRY, stored: false }],
  ])
  readonly #directoryTimes = new Map<ByteString, Times>()
  /** Default ACLs of directories. They are set at the end, because objects made in a directory would inherit them. */
  readonly #defaultAcls = new Map<ByteString, Buffer>()
  /** By directory: whether objects made in it inherit a default ACL. */
  readonly #handsOnAcl = new Map<ByteString, boolean>()
  /** Names of `MemoryFs` inodes that this layer hard-linked. */
  readonly #names = new Map<bigint, ByteString[]>()
  /**
   * By directory: its children that were lifted from lower layers for hard links, and those with lifted objects below
   * them.
   */
  readonly #lifted = new Map<ByteString, Set<ByteString>>()
  readonly #lowerInodes = new Set<bigint>()
  #pseudoLinks: ByteString | undefined
  #writing: FileWriter | undefined
  #closed = false
  #entry = -1
  #size = 0
  #objects = 0

  constructor(target: ApplyTarget | OpenTarget, options: ApplyOptions = {}) {
    this.#ground = groundOf(target, (path) => this.#own.get(path)?.type)
    this.#fs = this.#ground.fs
    this.#opened = !('syncFs' in target)
    this.#options = options
    this.#directoryTimes.set('' as ByteString, this.#fs.lstat('' as ByteString))
  }

  /**
   * After an error everything is closed and nothing more can be applied. What was written stays.
   * @returns for a header: whether its content can be read back from the tree under its (cleaned) name
   */
  part(part: TarPart): boolean {
    try {
      return this.#part(part)
    } catch (error) {
      this.close()
      throw applyError(error, part)
    }
  }

  /** @returns bytes of the regular files in the tar */
  finish(): { readonly size: number } {
    try {
      this.#endFile()
      if (this.#pseudoLinks !== undefined && this.#own.has(this.#pseudoLinks))
        this.#takeAway(this.#pseudoLinks, 'directory')
      for (const [path, acl] of this.#defaultAcls) {
        if (this.#own.get(path)?.type === 'directory') setXattrIfTaken(this.#fs, path, DEFAULT_ACL, acl)
      }
      for (const [path, times] of [...this.#directoryTimes].toReversed()) {
        if (this.#own.get(path)?.type === 'directory') this.#fs.utimes(path, times.atimeNs, times.mtimeNs)
      }
    } catch (error) {
      throw applyError(error)
    } finally {
      this.close()
    }
    return { size: this.#size }
  }

  /** Whether the layer implies the object at `path` and has no entry for it. */
  isImplied(path: ByteString): boolean {
    return this.#own.get(path)?.entry === IMPLIED_ENTRY
  }

  /** Number of entries so far and of the directories that they implied. */
  get objects(): number {
    return this.#objects
  }

  /** Closes what is open, even if the layer is not completely applied. May be called twice. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#writing?.file.close()
    this.#writing = undefined
    this.#ground.finish()
    if (this.#opened) this.#fs.close()
  }

  #part(part: TarPart): boolean {
    switch (part.type) {
      case 'header':
        this.#endFile()
        this.#entry++
        this.#countObject()
        return this.#header(part.header)
      case 'content':
        this.#content(part.bytes)
        return false
      case 'filler':
        return false
    }
  }

  #countObject(): void {
    const { maxObjects = Infinity } = this.#options
    if (++this.#objects <= maxObjects) return
    throw limitExceeded(
      'entries',
      maxObjects,
      `the layer has more than ${maxObjects} entries and implied directories`,
    )
  }

  #header(header: TarHeader): boolean {
    if (header.name.includes('\0') || header.linkName.includes('\0')) {
      throw invalid(header.name, 'its name or its link target contains a NUL byte')
    }
    const clean = cleanName(header.name)
    if (clean === undefined) throw invalid(header.name, 'its name leads outside the root')
    if (clean.length > MAX_PATH) throw invalid(header.name, `its name is longer than ${MAX_PATH} bytes`)
    const meaning = meaningOf(clean)
    switch (meaning.kind) {
      case 'skip':
        return false
      case 'pseudo-link':
        if (header.type === 'file') this.#create(header, this.#pseudoLink(meaning.name))
        return false
      case 'whiteout':
        this.#whiteout(meaning.path)
        return false
      case 'opaque':
        this.#opaque(meaning.directory)
        return false
      case 'entry':
        return this.#create(header, clean)
    }
  }

  #whiteout(clean: ByteString): void {
    const directory = this.#followedDirectory(parentOf(clean), true)
    if (directory === undefined) return
    const path = joinBytes(directory, baseOf(clean))
    this.#implyDirectory(directory)
    const own = this.#own.get(path)
    const isLower = own !== undefined && own.entry < 0
    if (isLower && !this.#holdsEntries(path, own.type)) this.#takeAway(path, own.type)
    this.#ground.whiteout(path)
    if (isLower && this.#own.has(path)) this.#resetImplied(path)
  }

  #opaque(clean: ByteString): void {
    const path = this.#followedDirectory(clean, false) as ByteString
    this.#implyDirectory(path)
    this.#dropLifted(path)
    this.#ground.opaque(path)
  }

  /** Removes what was lifted from lower layers below a directory. */
  #dropLifted(directory: ByteString): void {
    const lifted = this.#lifted.get(directory)
    if (lifted === undefined) return
    this.#lifted.delete(directory)
    for (const path of lifted) {
      this.#dropLifted(path)
      const own = this.#own.get(path)
      if (own?.entry === IMPLIED_ENTRY && own.type !== 'directory') this.#takeAway(path, own.type)
    }
  }

  /** Whether this layer has an entry below a path, and not only objects taken from lower layers. */
  #holdsEntries(path: ByteString, type: FileType): boolean {
    return (
      type === 'directory' &&
      this.#fs.readdir(path).some(({ name }) => {
        const own = this.#own.get(joinBytes(path, name))
        return own !== undefined && (own.entry >= 0 || this.#holdsEntries(joinBytes(path, name), own.type))
      })
    )
  }

  #create(header: TarHeader, clean: ByteString): boolean {
    if (header.type === 'unknown' || isWhiteoutDevice(header)) return false
    this.#size += header.type === 'file' ? (header.sparse?.size ?? header.size) : 0
    if (clean === '') return false
    const directory = this.#followedDirectory(parentOf(clean), false) as ByteString
    this.#implyDirectory(directory)
    const path = joinBytes(directory, baseOf(clean))
    if (header.type === 'link') return this.#link(header, path)
    checkNumbers(header)
    const stored = header.type === 'file' && header.sparse === undefined && path === clean
    const exists = this.#clear(path, header.type === 'directory')
    this.#own.set(path, { type: header.type, entry: this.#entry, stored: stored && header.size > 0 })
    if (header.type === 'file') this.#createFile(header, path)
    else this.#createOther(header, path, exists)
    return stored || header.size === 0
  }

  #createOther(header: TarHeader, path: ByteString, exists: boolean): void {
    const { type } = header
    if (type === 'directory') {
      if (!exists) {
        this.#fs.mkdir(path, 0o700)
        this.#ground.newDirectory(path)
        this.#handsOnAcl.set(path, false)
      }
    } else if (type === 'symlink') {
      if (header.linkName === '') throw invalid(header.name, 'it is a symlink without a target')
      this.#fs.symlink(header.linkName, path)
    } else if (type === 'char' || type === 'block' || type === 'fifo') {
      this.#fs.mknod(path, type, header.mode, type === 'fifo' ? undefined : header.device)
    }
    if (!exists) this.#dropInheritedAcl(path, type)
    this.#setAttributes(header, path, exists)
  }

  #createFile(header: TarHeader, path: ByteString): void {
    const content = this.#options.contents?.(header, path)
    if (content !== undefined && this.#fs instanceof MemoryFs) {
      this.#fs.createReference(path, content, header.mode)
      this.#setAttributes(header, path, false)
      return
    }
    const file = this.#fs.open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    this.#dropInheritedAcl(path, 'file')
    this.#writing = new FileWriter(header, path, file, content === undefined)
    if (content !== undefined) clone(content, file)
  }

  /** Objects get only the ACLs in their entries, whatever a lower layer's default ACL would add. */
  #dropInheritedAcl(path: ByteString, type: FileType | TarHeader['type']): void {
    const directory = parentOf(path)
    let handsOn = this.#handsOnAcl.get(directory)
    if (handsOn === undefined) this.#handsOnAcl.set(directory, (handsOn = handsOnAcl(this.#fs, directory)))
    if (handsOn) dropInheritedAcl(this.#fs, path, type as FileType)
  }

  #content(bytes: Uint8Array): void {
    const writing = this.#writing
    if (writing === undefined) return
    const { file, header } = writing
    const isWhole = writing.isPlain && bytes.length === header.size && header.xattrs.size === 0
    if (isWhole && this.#options.takeFile?.(file, header, bytes) === true) this.#writing = undefined
    else writing.write(bytes)
  }

  #endFile(): void {
    const writing = this.#writing
    if (writing === undefined) return
    const { file, header, path } = writing
    writing.finish()
    setFileAttributes(file, header, () => this.#setXattrs(header, path, false))
    file.close()
    this.#writing = undefined
  }

  #link(header: TarHeader, path: ByteString): boolean {
    const stored = header.size === 0
    const target = this.#linkTarget(header)
    if (target === path && this.#own.has(path)) return stored
    const own = this.#own.get(target)
    if (own?.type === 'directory') throw invalid(header.name, 'it is a hard link to a directory')
    if (own === undefined) this.#bringUp(header, target)
    if (target === path) return stored
    this.#clear(path, false)
    const { type } = this.#own.get(target) ?? {}
    if (type === undefined) throw invalid(header.name, 'it is a hard link to a file that it replaces')
    this.#makeLink(header, target, path)
    this.#own.set(path, { type, entry: this.#entry, stored: false })
    if (this.#fs instanceof MemoryFs) this.#noteNames(this.#fs.lstat(path).ino, target, path)
    return stored
  }

  #makeLink(header: TarHeader, target: ByteString, path: ByteString): void {
    try {
      this.#fs.link(target, path)
    } catch (error) {
      if (!isErrno(error, 'EMLINK')) throw error
      const { nlink } = this.#fs.lstat(target)
      throw invalid(
        header.name,
        `${text(target)} already has ${nlink} names, the maximum of the file system`,
        {
          cause: error,
          hint: 'keep the store on a file system that allows more, for example XFS',
        },
      )
    }
  }

  #bringUp(header: TarHeader, target: ByteString): void {
    const names = this.#ground.bringUp(target)
    if (names === undefined)
      throw invalid(header.name, `it is a hard link to ${text(header.linkName)}, which does not exist`)
    const { type, ino } = this.#fs.lstat(target)
    this.#lowerInodes.add(ino)
    this.#ownLifted(target, type)
    for (const name of names.filter((other) => !this.#own.has(other))) {
      this.#implyDirectory(parentOf(name))
      this.#fs.link(target, name)
      this.#ownLifted(name, type)
    }
  }

  #ownLifted(path: ByteString, type: FileType): void {
    this.#own.set(path, { type, entry: IMPLIED_ENTRY, stored: false })
    for (let at = path; at !== '';) {
      const directory = parentOf(at)
      const siblings = this.#lifted.get(directory)
      if (siblings?.has(at) === true) return
      if (siblings === undefined) this.#lifted.set(directory, new Set([at]))
      else siblings.add(at)
      at = directory
    }
  }

  #noteNames(inode: bigint, target: ByteString, path: ByteString): void {
    const names = this.#names.get(inode)
    if (names === undefined) this.#names.set(inode, [target, path])
    else names.push(path)
  }

  #linkTarget(header: TarHeader): ByteString {
    const clean = cleanName(header.linkName)
    if (clean === undefined || clean === '')
      throw invalid(header.name, 'it is a hard link to the root or to a path outside it')
    const pseudoLink = pseudoLinkOf(clean)
    if (pseudoLink !== undefined) return this.#pseudoLink(pseudoLink)
    const directory = this.#followedDirectory(parentOf(clean), false) as ByteString
    const target = joinBytes(directory, baseOf(clean))
    if (!this.#own.has(target)) this.#implyDirectory(directory)
    return target
  }

  /**
   * Returns the temporary path of a pseudo-linked file. It collides with no name and is removed at the end of the
   * layer.
   */
  #pseudoLink(name: ByteString): ByteString {
    this.#pseudoLinks ??= `.pseudo-links-${randomBytes(8).toString('hex')}` as ByteString
    return joinBytes(this.#pseudoLinks, name)
  }

  /** Makes room for an entry. @returns whether a directory exists that the entry merges with */
  #clear(path: ByteString, forDirectory: boolean): boolean {
    const own = this.#own.get(path)
    if (own === undefined) return this.#ground.makeRoom(path, forDirectory ? 'directory' : 'other')
    if (own.type === 'directory' && forDirectory) return true
    this.#takeAway(path, own.type)
    this.#ground.whiteout(path)
    this.#ground.makeRoom(path, forDirectory ? 'directory' : 'other')
    return false
  }

  /** Removes the object at a path, recursively. */
  #takeAway(path: ByteString, type: FileType): void {
    const own = this.#own.get(path)
    if (own?.stored === true) this.#options.onDisplace?.(own.entry, () => contentOf(this.#fs, path))
    if (type === 'file' && this.#fs instanceof MemoryFs) this.#keepReference(this.#fs, path)
    if (type === 'directory') {
      for (const entry of this.#fs.readdir(path)) this.#takeAway(joinBytes(path, entry.name), entry.type)
      this.#fs.rmdir(path)
    } else this.#fs.unlink(path)
    this.#own.delete(path)
  }

  /** As in the layer's files, content stays available under the remaining names. */
  #keepReference(model: MemoryFs, path: ByteString): void {
    const { ino, nlink } = model.lstat(path)
    const names = nlink > 1 && !this.#lowerInodes.has(ino) ? this.#names.get(ino) : undefined
    const reference = names && model.referenceOf(path)
    if (names === undefined || reference?.path !== path) return
    for (let other = names.pop(); other !== undefined; other = names.pop()) {
      if (other === path || statOrNothing(model, other)?.ino !== ino) continue
      names.push(other)
      model.moveReference(path, { ...reference, path: other })
      return
    }
  }

  /**
   * Returns the directory that a clean path leads to through this layer's symlinks.
   * @param lenient `undefined` instead of an error if a component is not a directory
   */
  #followedDirectory(path: ByteString, lenient: boolean): ByteString | undefined {
    if (path === '' || this.#own.get(path)?.type === 'directory') return path
    let links = 0
    let steps = 0
    let real = '' as ByteString
    const rest = path.split('/').toReversed()
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (++steps > MAX_STEPS) throw invalid(path, 'its path leads through too many directories')
      if (name === '' || name === '.') continue
      if (name === '..') {
        real = parentOf(real)
        continue
      }
      const next = joinBytes(real, name as ByteString)
      const own = this.#own.get(next)
      if (own?.type === 'symlink') {
        if (++links > MAX_LINKS) throw invalid(path, 'its path leads through too many symlinks')
        const target = this.#fs.readlink(next)
        if (target.startsWith('/')) real = '' as ByteString
        rest.push(...target.split('/').toReversed())
      } else if (own !== undefined && own.type !== 'directory') {
        if (lenient) return undefined
        throw invalid(path, `${text(next)} is not a directory`)
      } else if (own === undefined && lenient && !this.#ground.isLowerDirectory(next)) return undefined
      else real = next
    }
    return real
  }

  /** Makes a real path and all its parents directories of this layer. */
  #implyDirectory(path: ByteString): void {
    if (this.#own.has(path)) return
    this.#countObject()
    this.#implyDirectory(parentOf(path))
    this.#directoryTimes.set(path, this.#ground.implyDirectory(path))
    this.#own.set(path, { type: 'directory', entry: IMPLIED_ENTRY, stored: false })
  }

  /** Resets a directory that was implied from a lower directory which is now hidden. */
  #resetImplied(path: ByteString): void {
    this.#own.set(path, { type: 'directory', entry: this.#entry, stored: false })
    this.#fs.chown(path, IMPLIED.uid, IMPLIED.gid)
    for (const name of this.#fs.listxattr(path)) if (!isOverlayXattr(name)) this.#fs.removexattr(path, name)
    this.#defaultAcls.delete(path)
    this.#handsOnAcl.set(path, false)
    this.#fs.chmod(path, IMPLIED.mode)
    this.#directoryTimes.set(path, IMPLIED)
  }

  #setAttributes(header: TarHeader, path: ByteString, existed: boolean): void {
    this.#fs.chown(path, header.uid, header.gid)
    this.#setXattrs(header, path, existed)
    if (header.type !== 'symlink') this.#fs.chmod(path, header.mode)
    const times = { atimeNs: header.atimeNs ?? header.mtimeNs, mtimeNs: header.mtimeNs }
    if (header.type === 'directory') this.#directoryTimes.set(path, times)
    else this.#fs.utimes(path, times.atimeNs, times.mtimeNs)
  }

  #setXattrs(header: TarHeader, path: ByteString, existed: boolean): void {
    if (existed) {
      for (const name of this.#fs.listxattr(path)) {
        if (!isOverlayXattr(name) && name !== LABEL && !header.xattrs.has(name)) {
          this.#fs.removexattr(path, name)
        }
      }
    }
    if (header.type === 'directory') this.#defaultAcls.delete(path)
    for (const [name, value] of header.xattrs) {
      if (isOverlayXattr(name) || name === OVERRIDE_STAT) continue
      if (name === DEFAULT_ACL && header.type === 'directory') {
        this.#defaultAcls.set(path, value)
        continue
      }
      setXattrIfTaken(this.#fs, path, name, value)
    }
  }
}

const OVERRIDE_STAT = 'user.containers.override_stat'
/** The host sets it on every inode. */
const LABEL = 'security.selinux'

/** A regular file that is being written. */
class FileWriter {
  readonly header: TarHeader
  readonly path: ByteString
  readonly file: SyncFile
  readonly #takesParts: boolean
  readonly #sparse: SparseContent | undefined
  #position = 0

  /** @param takesParts false if the content is already in place */
  constructor(header: TarHeader, path: ByteString, file: SyncFile, takesParts: boolean) {
    this.header = header
    this.path = path
    this.file = file
    this.#takesParts = takesParts
    if (header.sparse !== undefined && takesParts)
      this.#sparse = new SparseContent(header, header.sparse, file)
  }

  /** Whether the content parts, joined, are the file's content. */
  get isPlain(): boolean {
    return this.#takesParts && this.#sparse === undefined
  }

  write(bytes: Uint8Array): void {
    if (this.#sparse !== undefined) this.#sparse.write(bytes)
    else if (this.#takesParts) {
      writeAll(this.file, bytes, this.#position)
      this.#position += bytes.length
    }
  }

  finish(): void {
    this.#sparse?.finish()
  }
}

function clone(content: FileReference, file: SyncFile): void {
  const source = content.fs.open(content.path, O_RDONLY)
  try {
    copyContent(source, file, content.size, source.stat())
  } finally {
    source.close()
  }
}

/** A non-empty upper directory is written through the union that it is part of. */
function groundOf(target: ApplyTarget | OpenTarget, ownType: OwnType): ApplyDestination {
  if ('syncFs' in target) {
    const { syncFs, over } = target
    return over === undefined
      ? new MergedDestination(syncFs, ownType)
      : new OverlayDestination(syncFs, over.lower, ownType)
  }
  const files = new HostFs(target.files)
  if (target.form === 'merged') return new MergedDestination(files, ownType)
  const { files: upper, lowers } = target
  if (files.readdir('' as ByteString).length === 0) {
    const below = lowers.length === 0 ? undefined : new UnionFs({ kind: 'union', lowers })
    return new OverlayDestination(files, below, ownType, () => below?.close())
  }
  files.close()
  return new MergedDestination(new UnionFs({ kind: 'union', upper, lowers, volatile: true }), ownType)
}

/** An overlay would take it for a whiteout. No real device has this number. */
function isWhiteoutDevice({ type, device }: TarHeader): boolean {
  return type === 'char' && device.major === 0 && device.minor === 0
}

/** As in Docker, an xattr that the file system does not support or permit does not fail the layer. */
function setXattrIfTaken(fs: SyncFs, path: ByteString, name: ByteString, value: Buffer): void {
  try {
    fs.setxattr(path, name, value)
  } catch (error) {
    if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM', 'ENOSYS'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw error
  }
}

/** Rejects ids and device numbers that no file can have. They would become others, or root's. */
function checkNumbers({ name, type, uid, gid, device }: TarHeader): void {
  if (!isId(uid) || !isId(gid))
    throw invalid(name, `its owner ${uid}:${gid} is out of range (ids go up to ${MAX_ID})`)
  if ((type === 'char' || type === 'block') && !isDeviceNumber(device)) {
    throw invalid(name, `its device number ${device.major}:${device.minor} is out of range`)
  }
}

function* contentOf(fs: SyncFs, path: ByteString): Generator<Uint8Array> {
  const file = fs.open(path, O_RDONLY)
  try {
    for (let position = 0; ;) {
      const buffer = Buffer.allocUnsafe(CHUNK)
      const count = file.read(buffer, position)
      if (count === 0) return
      yield buffer.subarray(0, count)
      position += count
    }
  } finally {
    file.close()
  }
}

function invalid(path: ByteString, why: string, options: StoreErrorOptions = {}): StoreError {
  return new StoreError('LAYER_INVALID', `the layer cannot be applied: ${text(path)}: ${why}`, {
    ...options,
    path: bytesToText(path),
  })
}

function text(path: ByteString): string {
  return JSON.stringify(bytesToText(path))
}

function applyError(error: unknown, part?: TarPart): unknown {
  if (part?.type === 'header' && isErrno(error, 'ENAMETOOLONG', 'EINVAL', 'EFBIG', 'EMLINK', 'ELOOP')) {
    const { code, message } = error
    return new StoreError(
      'LAYER_INVALID',
      `the layer cannot be applied: ${text(part.header.name)}: ${message}`,
      {
        cause: error,
        path: bytesToText(part.header.name),
        errno: code,
        syscall: error.syscall,
      },
    )
  }
  return storeError(error, 'SYSTEM', 'the layer cannot be applied')
}
