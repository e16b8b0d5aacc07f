import { isErrno, StoreError } from '../errors.js'
import { CAPABILITY, xattrRefusal } from '../fs/attributes.js'
import { baseOf, bytesToBuffer, parentOf, type ByteString } from '../fs/bytes.js'
import { ACCESS_ACL, DEFAULT_ACL } from '../fs/host/acl.js'
import { compareWritten } from '../fs/trees/compare-written.js'
import { O_ACCMODE, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC } from '../fs/open-flags.js'
import type {
  Comparison,
  DeviceNumber,
  FileType,
  SyncDirent,
  SyncFile,
  SyncFs,
  SyncStat,
} from '../fs/sync-fs.js'
import { systemError } from '../sys/errno.js'
import { aclRefusal, changedAcl, inheritedAcl, isEmptyAcl, keptAcl, modeOfAcl } from './acl.js'
import { now } from './clock.js'
import { Content } from './content.js'
import { DamagedBlock } from './damage.js'
import { addressOf, contentOf, lengthOf } from './extent.js'
import { Inode, setOwner, setTimes } from './inode.js'
import { endOf, ITEM, keyOf, REST, u48 } from './key.js'
import { Names, type Entry } from './names.js'
import { deleteParts, getParts, setParts } from './parts.js'
import type { CowStore } from './store.js'
import { VolumeFile, type VolumeInodes } from './volume-file.js'
import { ROOT_INODE, type Volume } from './volume.js'
import { Written } from './written.js'

export interface VolumeFsOptions {
  /** @default false */
  readonly readOnly?: boolean
  /** Makes `sync` of a file a no-op, for content that is useless after a crash. @default false */
  readonly volatile?: boolean
  /**
   * Distinguishes this filesystem from others that are snapshots of the same underlying device.
   * @default the volume's own number
   */
  readonly number?: number
  /** For a filesystem on its own device, which may have snapshots. */
  readonly lineage?: Lineage
}

/** The device of a filesystem, and the snapshot that it began as. */
export interface Lineage {
  /** Identifies the device. Never reused for another one. */
  readonly identity: string
  /** The device that this one is a snapshot of, and the generation of the state that it began with. */
  readonly origin?: { readonly identity: string; readonly generation: number } | undefined
}

const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 }
const NOTHING = Buffer.alloc(0)
const LONGEST_NAME = 255
const LONGEST_TARGET = 4095
const LONGEST_VALUE = 64 << 10
const SET_GROUP_ID = 0o2000
const MOST_LINKS = 0xffff_ffff

/**
 * A volume as a filesystem. Callers have all permissions: permission bits are stored, not enforced. Access times change
 * only if they are set.
 */
export class VolumeFs implements SyncFs, VolumeInodes {
  readonly readOnly: boolean
  readonly volume: Volume
  readonly #store: CowStore
  readonly #names: Names
  readonly #volatile: boolean
  readonly #device: bigint
  readonly #lineage: Lineage | undefined
  #closed = false
  #prepared: { readonly lower: VolumeFs; readonly state: string; readonly written: Written } | undefined

  constructor(
    store: CowStore,
    volume: Volume,
    { readOnly = false, volatile = false, number = volume.number, lineage }: VolumeFsOptions = {},
  ) {
    this.#lineage = lineage
    this.#store = store
    this.volume = volume
    this.readOnly = readOnly || store.readOnly
    this.#volatile = volatile
    this.#names = new Names(volume)
    this.#device = (store.id << 32n) | BigInt(number)
    volume.opened++
    if (!this.readOnly) this.#removeOrphans()
  }

  lstat(path: ByteString): SyncStat {
    const stat = this.find(path)
    if (stat === undefined) throw failure('ENOENT', 'lstat', path)
    return stat
  }

  find(path: ByteString): SyncStat | undefined {
    return this.#read(() => {
      const entry = this.#find('lstat', path)
      return entry && this.statOf(entry.inode, this.inode(entry.inode))
    })
  }

  readdir(path: ByteString): SyncDirent[] {
    return this.#read(() => this.#names.list(this.#directory('scandir', path)))
  }

  readlink(path: ByteString): ByteString {
    return this.#read(() => {
      const { inode, type } = this.#entry('readlink', path)
      if (type !== 'symlink') throw failure('EINVAL', 'readlink', path)
      const target = getParts(this.volume.tree, keyOf(inode, ITEM.target)) ?? NOTHING
      return target.toString('latin1') as ByteString
    })
  }

  open(path: ByteString, flags: number, mode = 0o666): SyncFile {
    const writes = (flags & O_ACCMODE) !== O_RDONLY
    const creates = (flags & O_CREAT) !== 0
    if (this.readOnly && (writes || (flags & O_TRUNC) !== 0)) throw failure('EROFS', 'open', path)
    let entry = this.#read(() => (creates ? this.#find('open', path) : this.#entry('open', path)))
    if (entry === undefined) {
      entry = this.#make('open', path, 'file', mode)
    } else if (creates && (flags & O_EXCL) !== 0) {
      throw failure('EEXIST', 'open', path)
    }
    if (entry.type === 'symlink') throw failure('ELOOP', 'open', path)
    const isDirectory = entry.type === 'directory'
    if (isDirectory && (writes || creates || (flags & O_TRUNC) !== 0)) throw failure('EISDIR', 'open', path)
    if (entry.type !== 'file' && !isDirectory) throw failure('ENXIO', 'open', path)
    if ((flags & O_TRUNC) !== 0) this.resize(entry.inode, 0)
    return new VolumeFile(this, entry.inode, flags)
  }

  mkdir(path: ByteString, mode: number): void {
    this.#make('mkdir', path, 'directory', mode)
  }

  rmdir(path: ByteString): void {
    this.write(() => {
      if (!this.#names.isEmpty(this.#directory('rmdir', path))) throw failure('ENOTEMPTY', 'rmdir', path)
      this.#unlink('rmdir', path)
    })
  }

  unlink(path: ByteString): void {
    this.write(() => {
      if (this.#entry('unlink', path).type === 'directory') throw failure('EISDIR', 'unlink', path)
      this.#unlink('unlink', path)
    })
  }

  rename(from: ByteString, to: ByteString): void {
    this.write(() => {
      const entry = this.#entry('rename', from)
      if (from === '' || to === '') throw failure('EBUSY', 'rename', from)
      const replaced = this.#find('rename', to)
      if (replaced?.inode === entry.inode) return
      if (from.startsWith(`${to}/`)) throw failure('ENOTEMPTY', 'rename', to)
      const directory = entry.type === 'directory'
      if (directory && `${to}/`.startsWith(`${from}/`)) throw failure('EINVAL', 'rename', from)
      if (replaced?.type === 'directory') {
        if (!directory) throw failure('EISDIR', 'rename', to)
        if (!this.#names.isEmpty(replaced.inode)) throw failure('ENOTEMPTY', 'rename', to)
      } else if (replaced !== undefined && directory) throw failure('ENOTDIR', 'rename', to)
      checkName('rename', to)
      this.#mustHaveRoom('rename', to)
      if (replaced !== undefined) this.#unlink('rename', to)
      const [source, target] = [
        this.#directory('rename', parentOf(from)),
        this.#directory('rename', parentOf(to)),
      ]
      this.#names.remove(source, baseOf(from), entry)
      this.#names.add(target, baseOf(to), entry)
      const moved = directory ? 1 : 0
      this.#touchDirectory(source, -moved)
      this.#touchDirectory(target, moved)
      this.#update(entry.inode, () => undefined)
    })
  }

  link(existing: ByteString, path: ByteString): void {
    this.write(() => {
      const { inode, type } = this.#entry('link', existing)
      const parent = this.#room('link', path)
      if (type === 'directory') throw failure('EPERM', 'link', existing)
      this.#mustHaveRoom('link', path)
      if (this.inode(inode).links >= MOST_LINKS) throw failure('EMLINK', 'link', existing)
      this.#names.add(parent, baseOf(path), { inode, type })
      this.#update(inode, (node) => node.links++)
      this.#touchDirectory(parent)
    })
  }

  symlink(target: ByteString, path: ByteString): void {
    if (target === '') throw failure('ENOENT', 'symlink', path)
    if (target.length > LONGEST_TARGET) throw failure('ENAMETOOLONG', 'symlink', path)
    this.#make('symlink', path, 'symlink', 0o777, NO_DEVICE, target)
  }

  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device: DeviceNumber = NO_DEVICE,
  ): void {
    this.#make('mknod', path, type, mode, device)
  }

  chmod(path: ByteString, mode: number): void {
    this.write(() => {
      const { inode, type } = this.#entry('chmod', path)
      if (type === 'symlink') throw failure('EOPNOTSUPP', 'chmod', path)
      this.chmodInode(inode, mode)
    })
  }

  chown(path: ByteString, uid: number, gid: number): void {
    this.write(() => this.giveInode(this.#entry('lchown', path).inode, uid, gid))
  }

  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#change('utimensat', path, (inode) => setTimes(inode, atimeNs, mtimeNs))
  }

  truncate(path: ByteString, size: number): void {
    const { inode, type } = this.#read(() => this.#entry('truncate', path))
    if (type === 'symlink') throw failure('ELOOP', 'truncate', path)
    if (type !== 'file') throw failure(type === 'directory' ? 'EISDIR' : 'EINVAL', 'truncate', path)
    this.resize(inode, size)
  }

  listxattr(path: ByteString): ByteString[] {
    return this.#read(() => {
      const { inode } = this.#entry('llistxattr', path)
      if (!this.inode(inode).hasXattrs) return []
      const names: ByteString[] = []
      for (const [key] of this.#xattrItems(inode)) {
        if (key.endsWith('\0\0\0')) names.push(key.slice(REST, -3) as ByteString)
      }
      return names
    })
  }

  getxattr(path: ByteString, name: ByteString): Buffer | undefined {
    return this.#read(() => {
      const { inode } = this.#entry('lgetxattr', path)
      return this.inode(inode).hasXattrs ? getParts(this.volume.tree, xattrKey(inode, name)) : undefined
    })
  }

  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    this.write(() => {
      const { inode, type } = this.#entry('lsetxattr', path)
      const refusal = xattrRefusal(type, name)
      if (refusal !== undefined) throw failure(refusal, 'lsetxattr', path)
      const key = xattrKey(inode, name)
      const exists = getParts(this.volume.tree, key) !== undefined
      if (flag === 'create' && exists) throw failure('EEXIST', 'lsetxattr', path)
      if (flag === 'replace' && !exists) throw failure('ENODATA', 'lsetxattr', path)
      if (name === '' || name.length > LONGEST_NAME || name.includes('\0')) {
        throw failure('ERANGE', 'lsetxattr', path)
      }
      if (value.length > LONGEST_VALUE) throw failure('E2BIG', 'lsetxattr', path)
      const refused = isAcl(name) ? aclRefusal(type, name, value) : undefined
      if (refused !== undefined) throw failure(refused, 'lsetxattr', path)
      this.#mustHaveRoom('lsetxattr', path)
      if (isAcl(name)) this.#setAcl(inode, name, keptAcl(value))
      else this.#setXattr(inode, name, value)
    })
  }

  removexattr(path: ByteString, name: ByteString): void {
    this.write(() => {
      const { inode, type } = this.#entry('lremovexattr', path)
      const refusal = xattrRefusal(type, name)
      if (refusal !== undefined) throw failure(refusal, 'lremovexattr', path)
      if (!this.#deleteXattr(inode, name) && !isAcl(name)) throw failure('ENODATA', 'lremovexattr', path)
    })
  }

  #setXattr(number: number, name: ByteString, value: Uint8Array): void {
    setParts(this.volume.tree, xattrKey(number, name), value)
    this.#update(number, (inode) => {
      inode.hasXattrs = true
    })
  }

  /** Sets an ACL. An access ACL also sets the mode, and is not stored if it says no more than the mode. */
  #setAcl(number: number, name: ByteString, acl: Buffer): void {
    const said = name === ACCESS_ACL && !isEmptyAcl(acl) ? modeOfAcl(acl) : undefined
    if (isEmptyAcl(acl) || said?.isMode === true) this.#deleteXattr(number, name)
    else this.#setXattr(number, name, acl)
    this.#update(number, (inode) => {
      if (said !== undefined) inode.mode = (inode.mode & ~0o777) | said.mode
    })
  }

  /** Returns whether the attribute existed. */
  #deleteXattr(number: number, name: ByteString): boolean {
    if (!deleteParts(this.volume.tree, xattrKey(number, name))) return false
    this.#update(number, (inode) => {
      inode.hasXattrs = this.#xattrItems(number).next().done !== true
    })
    return true
  }

  *prepareCompare(lower: SyncFs): Generator<void> {
    if (!(lower instanceof VolumeFs)) return
    const common = this.#commonWith(lower)
    if (common === undefined) return
    this.#store.latest()
    lower.#store.latest()
    const state = this.#stateWith(lower)
    const written = new Written()
    try {
      for (const _ of written.find(this.#place, lower.#place, common)) {
        yield
        if (this.#stateWith(lower) !== state) return
      }
    } catch (error) {
      // Another process's commit may be the cause; `compare` finds out.
      if (error instanceof DamagedBlock) return
      throw error
    }
    this.#prepared = { lower, state, written }
  }

  /**
   * Compares with another volume of the same store, or with the device that this one is a snapshot of. The cost
   * usually depends only on what differs; see `compareWritten`.
   */
  compare(lower: SyncFs): Comparison | undefined {
    if (!(lower instanceof VolumeFs)) return undefined
    const common = this.#commonWith(lower)
    if (common === undefined) return undefined
    const look = () => this.#preparedFor(lower) ?? this.#writtenSince(lower, common)
    const written = this.#read(() => lower.#read(look))
    return compareWritten(written, this, lower, BigInt(ROOT_INODE))
  }

  /**
   * The generation up to which equal pointers in both trees lead to the same node; `undefined` if unknown. After a
   * snapshot, either device writes only later generations, since each committed state begins one.
   */
  #commonWith(lower: VolumeFs): number | undefined {
    if (lower.#store === this.#store) return Infinity
    const origin = this.#lineage?.origin
    const isOrigin = origin !== undefined && origin.identity === lower.#lineage?.identity
    return isOrigin && lower.#store.id === this.#store.id ? origin.generation : undefined
  }

  get #place() {
    return { nodes: this.#store.nodes, volume: this.volume }
  }

  #writtenSince(lower: VolumeFs, common: number): Written {
    const written = new Written()
    for (const _ of written.find(this.#place, lower.#place, common));
    return written
  }

  #preparedFor(lower: VolumeFs): Written | undefined {
    const prepared = this.#prepared
    this.#prepared = undefined
    const isTrue = prepared?.lower === lower && prepared.state === this.#stateWith(lower)
    return isTrue ? prepared.written : undefined
  }

  /** Changes with any change of either tree. */
  #stateWith(lower: VolumeFs): string {
    return `${this.#state} ${lower.#state}`
  }

  get #state(): string {
    const { address, generation } = this.volume.tree.root
    return `${address} ${generation} ${this.#store.changes}`
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.volume.opened--
  }

  /** Operations on inodes, for `VolumeFile`. */

  inode(number: number): Inode {
    const inode = this.volume.inode(number)
    if (inode !== undefined) return inode
    const { address } = this.volume.tree.root
    throw new DamagedBlock(
      this.#store.device.name,
      address,
      `inode ${number} is missing from the tree below it`,
    )
  }

  statOf(number: number, inode: Inode): SyncStat {
    return {
      type: inode.type,
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      size: inode.size,
      nlink: inode.links,
      dev: this.#device,
      ino: BigInt(number),
      device: inode.device,
      blocks: inode.blocks * 8,
      atimeNs: inode.atimeNs,
      mtimeNs: inode.mtimeNs,
      ctimeNs: inode.ctimeNs,
      birthtimeNs: inode.birthtimeNs,
    }
  }

  stat(number: number): SyncStat {
    return this.#read(() => this.statOf(number, this.inode(number)))
  }

  readContent(number: number, buffer: Uint8Array, position: number): number {
    return this.#read(() => {
      const inode = this.inode(number)
      if (inode.type === 'directory') throw systemError('EISDIR', 'read')
      return this.#content(number).read(inode, buffer, position)
    })
  }

  /** Without a position, appends to the file. */
  writeContent(number: number, bytes: Uint8Array, position: number | undefined): number {
    if (bytes.length === 0) return 0
    try {
      return this.#writeContent(number, bytes, position)
    } catch (error) {
      // Freed blocks become usable once a commit is on disk.
      if (!isErrno(error, 'ENOSPC') || this.#store.space.pinned === 0) throw error
      this.#store.commitNow()
      return this.#writeContent(number, bytes, position)
    }
  }

  #writeContent(number: number, bytes: Uint8Array, position: number | undefined): number {
    return this.write(() => {
      const inode = this.inode(number)
      const written = this.#content(number).write(inode, bytes, position ?? inode.size)
      this.#dropCapability(number, inode)
      inode.mtimeNs = inode.ctimeNs = now()
      this.volume.setInode(number, inode)
      return written
    })
  }

  resize(number: number, size: number): void {
    this.write(() => {
      const inode = this.inode(number)
      this.#content(number).resize(inode, size)
      this.#dropCapability(number, inode)
      inode.mtimeNs = inode.ctimeNs = now()
      this.volume.setInode(number, inode)
    })
  }

  chmodInode(number: number, mode: number): void {
    this.changeInode(number, (inode) => {
      inode.mode = mode
      if (!inode.hasXattrs) return
      const key = xattrKey(number, ACCESS_ACL)
      const acl = getParts(this.volume.tree, key)
      if (acl !== undefined) setParts(this.volume.tree, key, changedAcl(acl, mode))
    })
  }

  /** Throws `EINVAL` for an ID that no file can have. */
  giveInode(number: number, uid: number, gid: number): void {
    this.changeInode(number, (inode) => {
      setOwner(inode, uid, gid)
      if (inode.type === 'file') this.#dropCapability(number, inode)
    })
  }

  changeInode(number: number, work: (inode: Inode) => void): void {
    this.write(() => this.#update(number, work))
  }

  opened(number: number): void {
    const { files } = this.volume
    files.set(number, (files.get(number) ?? 0) + 1)
  }

  /** Removes a file without names when its last opening is closed. */
  closed(number: number): void {
    const { files } = this.volume
    const left = (files.get(number) ?? 1) - 1
    if (left > 0) {
      files.set(number, left)
      return
    }
    files.delete(number)
    if (this.readOnly || this.volume.gone || this.volume.inode(number)?.links !== 0) return
    this.write(() => this.#removeInode(number))
  }

  sync(): void {
    if (!this.#volatile) this.#store.commitNow()
  }

  write<T>(work: () => T): T {
    if (this.readOnly) throw systemError('EROFS', 'write')
    return this.#store.change(() => {
      this.#mustBeThere()
      return work()
    })
  }

  #read<T>(work: () => T): T {
    return this.#store.read(() => {
      this.#mustBeThere()
      return work()
    })
  }

  #mustBeThere(): void {
    if (this.volume.gone) throw new StoreError('LAYER_NOT_FOUND', `layer ${this.volume.name} was removed`)
  }

  #make(
    syscall: string,
    path: ByteString,
    type: FileType,
    mode: number,
    device: DeviceNumber = NO_DEVICE,
    target?: ByteString,
  ): Entry {
    return this.write(() => {
      const parent = this.#room(syscall, path)
      this.#mustHaveRoom(syscall, path)
      const directory = this.inode(parent)
      const inherits = (directory.mode & SET_GROUP_ID) !== 0
      const inode = this.volume.nextInode++
      const acl = type === 'symlink' ? undefined : this.#defaultAcl(parent, directory)
      const own = acl && inheritedAcl(acl, mode)
      const given = own?.mode ?? mode
      const fields = {
        mode: inherits && type === 'directory' ? given | SET_GROUP_ID : given,
        links: type === 'directory' ? 2 : 1,
        gid: inherits ? directory.gid : 0,
        size: target?.length ?? 0,
      }
      const itsDevice = type === 'char' || type === 'block' ? device : NO_DEVICE
      this.volume.setInode(inode, Inode.made(type, fields, itsDevice, now()))
      if (own !== undefined && !modeOfAcl(own.acl).isMode) this.#setXattr(inode, ACCESS_ACL, own.acl)
      if (acl !== undefined && type === 'directory') this.#setXattr(inode, DEFAULT_ACL, acl)
      if (target !== undefined) setParts(this.volume.tree, keyOf(inode, ITEM.target), bytesToBuffer(target))
      this.#names.add(parent, baseOf(path), { inode, type })
      this.#touchDirectory(parent, type === 'directory' ? 1 : 0)
      return { inode, type }
    })
  }

  #defaultAcl(number: number, { hasXattrs }: Inode): Buffer | undefined {
    return hasXattrs ? getParts(this.volume.tree, xattrKey(number, DEFAULT_ACL)) : undefined
  }

  #mustHaveRoom(syscall: string, path: ByteString): void {
    if (this.#store.space.isShort) throw failure('ENOSPC', syscall, path)
  }

  /** Returns the directory for a new name. Throws `EEXIST` if the name exists. */
  #room(syscall: string, path: ByteString): number {
    const parent = this.#directory(syscall, parentOf(path))
    if (path === '' || this.#names.entry(parent, baseOf(path)) !== undefined) {
      throw failure('EEXIST', syscall, path)
    }
    checkName(syscall, path)
    return parent
  }

  #unlink(syscall: string, path: ByteString): void {
    if (path === '') throw failure('EBUSY', syscall, path)
    const parent = this.#directory(syscall, parentOf(path))
    const entry = this.#entry(syscall, path)
    const inode = this.inode(entry.inode)
    this.#names.remove(parent, baseOf(path), entry)
    const directory = entry.type === 'directory'
    this.#touchDirectory(parent, directory ? -1 : 0)
    inode.links = directory ? 0 : inode.links - 1
    if (inode.links === 0 && !this.volume.files.has(entry.inode)) {
      this.#removeInode(entry.inode)
      return
    }
    inode.ctimeNs = now()
    this.volume.setInode(entry.inode, inode)
    if (inode.links === 0) this.volume.tree.set(orphanKey(entry.inode), NOTHING)
  }

  #removeInode(number: number): void {
    const { space, generation } = this.#store
    this.volume.removeInode(number, (key, value) => {
      if (contentOf(key, value) === undefined) return
      const [address, length] = [addressOf(value), lengthOf(value)]
      for (let at = address; at < address + length; at++) space.decrement(at, generation)
      this.volume.blocks -= length
    })
    this.volume.tree.delete(orphanKey(number))
  }

  /** Removes files that were open without a name when their process ended. */
  #removeOrphans(): void {
    const orphans: number[] = []
    this.#read(() => {
      for (const [key] of this.volume.tree.range(keyOf(0, ITEM.orphan), endOf(0, ITEM.orphan))) {
        orphans.push(Number.parseInt(bytesToBuffer(key).subarray(REST).toString('hex'), 16))
      }
    })
    for (const number of orphans) {
      if (!this.volume.files.has(number)) this.write(() => this.#removeInode(number))
    }
  }

  #change(syscall: string, path: ByteString, work: (inode: Inode) => void): void {
    this.write(() => this.#update(this.#entry(syscall, path).inode, work))
  }

  #update(number: number, work: (inode: Inode) => unknown): void {
    const inode = this.inode(number)
    work(inode)
    inode.ctimeNs = now()
    this.volume.setInode(number, inode)
  }

  #touchDirectory(number: number, links = 0): void {
    this.#update(number, (inode) => {
      inode.links += links
      inode.mtimeNs = now()
    })
  }

  /** Removes the file capability, as the kernel does when a file is written or changes its owner. */
  #dropCapability(number: number, inode: Inode): void {
    if (!inode.hasXattrs || !deleteParts(this.volume.tree, xattrKey(number, CAPABILITY))) return
    inode.hasXattrs = this.#xattrItems(number).next().done !== true
  }

  #content(number: number): Content {
    return new Content(this.#store, this.volume, number)
  }

  #xattrItems(inode: number) {
    return this.volume.tree.range(keyOf(inode, ITEM.xattr), endOf(inode, ITEM.xattr))
  }

  #find(syscall: string, path: ByteString): Entry | undefined {
    const found = this.#names.find(path)
    if (typeof found === 'string') throw failure(found, syscall, path)
    return found
  }

  #entry(syscall: string, path: ByteString): Entry {
    const entry = this.#find(syscall, path)
    if (entry === undefined) throw failure('ENOENT', syscall, path)
    return entry
  }

  #directory(syscall: string, path: ByteString): number {
    const found = this.#names.directory(path)
    if (typeof found === 'string') throw failure(found, syscall, path)
    return found
  }
}

function checkName(syscall: string, path: ByteString): void {
  if (baseOf(path).length > LONGEST_NAME) throw failure('ENAMETOOLONG', syscall, path)
}

function isAcl(name: ByteString): boolean {
  return name === ACCESS_ACL || name === DEFAULT_ACL
}

/** A zero byte ends the name, since names contain none. */
function xattrKey(inode: number, name: ByteString): ByteString {
  return keyOf(inode, ITEM.xattr, `${name}\0`)
}

function orphanKey(inode: number): ByteString {
  return keyOf(0, ITEM.orphan, u48(inode))
}

function failure(code: string, syscall: string, path: ByteString): NodeJS.ErrnoException {
  return systemError(code, syscall, path)
}
