import { constants } from 'node:os'
import { isErrno } from '../../errors.js'
import { xattrRefusal } from '../attributes.js'
import { baseOf, parentOf, type ByteString } from '../bytes.js'
import { damagedFile } from '../damaged-file.js'
import type { DeviceNumber, FileType, SyncDirent, SyncFile, SyncFs, SyncStat } from '../sync-fs.js'
import { O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC } from '../open-flags.js'

/**
 * The content of a regular file, stored in another filesystem. It must not change while the reference is in use. If it
 * is missing or shorter, reading it is `STORE_CORRUPT`.
 */
export interface FileReference {
  readonly fs: SyncFs
  readonly path: ByteString
  readonly size: number
}

/**
 * A filesystem of inodes in memory. Contents are references to files of other filesystems, or bytes. A tree of 100,000
 * referenced files takes some tens of megabytes. Nothing reads the clock: times are 0 until they are set, and writes do
 * not change them. So the same calls make the same tree.
 */
export class MemoryFs implements SyncFs {
  readonly readOnly = false
  /** Negative, unlike any device number of the host. */
  readonly #device = (lastDevice -= 1n)
  readonly #root = new DirectoryNode(1, 0o755)
  #lastInode = 1
  /**
   * The last object and the last directory found. Work on a tree stays at a path for several calls, and in a directory
   * for a while.
   */
  #found: { readonly path: ByteString; readonly node: Node } | undefined
  #recentPath = '' as ByteString
  #recent = this.#root

  /** Makes a regular file whose content is read from another filesystem. */
  createReference(path: ByteString, content: FileReference, mode: number): void {
    const file = new FileNode(++this.#lastInode, mode)
    file.content = content
    this.#insert('open', path, file)
  }

  /** Sets a new location of the file's content, which stays the same. */
  moveReference(path: ByteString, content: FileReference): void {
    this.#file('open', path).content = content
  }

  /** Returns where the content of a regular file is stored, if not in this filesystem. */
  referenceOf(path: ByteString): FileReference | undefined {
    const { content } = this.#file('open', path)
    return isReference(content) ? content : undefined
  }

  lstat(path: ByteString): SyncStat {
    return this.#statOf(this.#node('lstat', path))
  }

  find(path: ByteString): SyncStat | undefined {
    const node = this.#find('lstat', path)
    return node && this.#statOf(node)
  }

  readdir(path: ByteString): SyncDirent[] {
    const entries: SyncDirent[] = []
    for (const [name, node] of this.#directory('scandir', path).children) {
      entries.push({ name, type: node.type })
    }
    return entries
  }

  readlink(path: ByteString): ByteString {
    const node = this.#node('readlink', path)
    if (!(node instanceof SymlinkNode)) throw failure('EINVAL', 'readlink', path)
    return node.target
  }

  open(path: ByteString, flags: number, mode = 0o666): SyncFile {
    const writes = (flags & O_ACCMODE) !== O_RDONLY
    let node = (flags & O_CREAT) === 0 ? this.#node('open', path) : this.#find('open', path)
    if (node === undefined) {
      node = new FileNode(++this.#lastInode, mode)
      this.#insert('open', path, node)
    } else if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) {
      throw failure('EEXIST', 'open', path)
    }
    if (node instanceof SymlinkNode) throw failure('ELOOP', 'open', path)
    if (!(node instanceof FileNode)) {
      throw failure(node instanceof DirectoryNode ? 'EISDIR' : 'ENXIO', 'open', path)
    }
    if (writes) materialise(node)
    if ((flags & O_TRUNC) !== 0) resize(node, 0)
    const file = node
    return new MemoryFile(file, () => this.#statOf(file), (flags & O_APPEND) !== 0)
  }

  mkdir(path: ByteString, mode: number): void {
    this.#insert('mkdir', path, new DirectoryNode(++this.#lastInode, mode))
  }

  rmdir(path: ByteString): void {
    if (this.#directory('rmdir', path).children.size > 0) throw failure('ENOTEMPTY', 'rmdir', path)
    this.#detach('rmdir', path)
  }

  unlink(path: ByteString): void {
    if (this.#node('unlink', path) instanceof DirectoryNode) throw failure('EISDIR', 'unlink', path)
    this.#detach('unlink', path)
  }

  rename(from: ByteString, to: ByteString): void {
    const node = this.#node('rename', from)
    const replaced = this.#find('rename', to)
    if (replaced === node) return
    if (from.startsWith(`${to}/`)) throw failure('ENOTEMPTY', 'rename', to)
    if (node instanceof DirectoryNode && `${to}/`.startsWith(`${from}/`))
      throw failure('EINVAL', 'rename', from)
    if (replaced !== undefined) {
      if (replaced instanceof DirectoryNode) {
        if (!(node instanceof DirectoryNode)) throw failure('EISDIR', 'rename', to)
        if (replaced.children.size > 0) throw failure('ENOTEMPTY', 'rename', to)
      } else if (node instanceof DirectoryNode) throw failure('ENOTDIR', 'rename', to)
    }
    const target = this.#directory('rename', parentOf(to))
    if (replaced !== undefined) this.#detach('rename', to)
    const links = node.nlink
    this.#detach('rename', from)
    node.nlink = links
    target.children.set(baseOf(to), node)
    if (node instanceof DirectoryNode) target.nlink++
  }

  link(existing: ByteString, path: ByteString): void {
    const node = this.#node('link', existing)
    if (node instanceof DirectoryNode) {
      throw failure(this.#find('link', path) === undefined ? 'EPERM' : 'EEXIST', 'link', existing)
    }
    this.#insert('link', path, node)
    node.nlink++
  }

  symlink(target: ByteString, path: ByteString): void {
    if (target === '') throw failure('ENOENT', 'symlink', path)
    this.#insert('symlink', path, new SymlinkNode(++this.#lastInode, target))
  }

  mknod(
    path: ByteString,
    type: 'fifo' | 'socket' | 'char' | 'block',
    mode: number,
    device: DeviceNumber = NO_DEVICE,
  ): void {
    this.#insert('mknod', path, new SpecialNode(++this.#lastInode, mode, type, device))
  }

  chmod(path: ByteString, mode: number): void {
    const node = this.#node('chmod', path)
    if (node instanceof SymlinkNode) throw failure('EOPNOTSUPP', 'chmod', path)
    node.mode = mode
  }

  chown(path: ByteString, uid: number, gid: number): void {
    setOwner(this.#node('lchown', path), uid, gid)
  }

  utimes(path: ByteString, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    setTimes(this.#node('utimensat', path), atimeNs, mtimeNs)
  }

  truncate(path: ByteString, size: number): void {
    const file = this.#file('truncate', path)
    materialise(file)
    resize(file, size)
  }

  listxattr(path: ByteString): ByteString[] {
    return [...(this.#node('llistxattr', path).xattrs?.keys() ?? [])]
  }

  getxattr(path: ByteString, name: ByteString): Buffer | undefined {
    return this.#node('lgetxattr', path).xattrs?.get(name)
  }

  setxattr(path: ByteString, name: ByteString, value: Uint8Array, flag?: 'create' | 'replace'): void {
    const node = this.#node('lsetxattr', path)
    const refusal = xattrRefusal(node.type, name)
    if (refusal !== undefined) throw failure(refusal, 'lsetxattr', path)
    const exists = node.xattrs?.has(name) ?? false
    if (flag === 'create' && exists) throw failure('EEXIST', 'lsetxattr', path)
    if (flag === 'replace' && !exists) throw failure('ENODATA', 'lsetxattr', path)
    node.xattrs ??= new Map()
    node.xattrs.set(name, Buffer.from(value))
  }

  removexattr(path: ByteString, name: ByteString): void {
    const { type, xattrs } = this.#node('lremovexattr', path)
    const refusal = xattrRefusal(type, name)
    if (refusal !== undefined) throw failure(refusal, 'lremovexattr', path)
    if (!xattrs?.delete(name)) throw failure('ENODATA', 'lremovexattr', path)
  }

  close(): void {}

  #find(syscall: string, path: ByteString): Node | undefined {
    if (path === '') return this.#root
    if (path === this.#found?.path) return this.#found.node
    const node = this.#directory(syscall, parentOf(path)).children.get(baseOf(path))
    if (node !== undefined) this.#found = { path, node }
    return node
  }

  #node(syscall: string, path: ByteString): Node {
    const node = this.#find(syscall, path)
    if (node === undefined) throw failure('ENOENT', syscall, path)
    return node
  }

  #file(syscall: string, path: ByteString): FileNode {
    const node = this.#node(syscall, path)
    if (node instanceof FileNode) return node
    const codes = { directory: 'EISDIR', symlink: 'ELOOP' } as Partial<Record<FileType, string>>
    throw failure(codes[node.type] ?? 'EINVAL', syscall, path)
  }

  #directory(syscall: string, path: ByteString): DirectoryNode {
    if (path === this.#recentPath) return this.#recent
    let node = this.#root
    if (path !== '') {
      for (const name of path.split('/')) {
        const child = node.children.get(name as ByteString)
        if (child === undefined) throw failure('ENOENT', syscall, path)
        if (!(child instanceof DirectoryNode)) throw failure('ENOTDIR', syscall, path)
        node = child
      }
    }
    this.#recentPath = path
    this.#recent = node
    return node
  }

  #insert(syscall: string, path: ByteString, node: Node): void {
    const name = baseOf(path)
    const parent = this.#directory(syscall, parentOf(path))
    if (path === '' || parent.children.has(name)) throw failure('EEXIST', syscall, path)
    parent.children.set(name, node)
    if (node instanceof DirectoryNode) parent.nlink++
    this.#found = { path, node }
  }

  #detach(syscall: string, path: ByteString): void {
    if (path === '') throw failure('EBUSY', syscall, path)
    const parent = this.#directory(syscall, parentOf(path))
    const node = parent.children.get(baseOf(path))
    if (node === undefined) throw failure('ENOENT', syscall, path)
    parent.children.delete(baseOf(path))
    this.#found = undefined
    if (node instanceof DirectoryNode) {
      parent.nlink--
      this.#recentPath = '' as ByteString
      this.#recent = this.#root
    } else {
      node.nlink--
    }
  }

  #statOf(node: Node): SyncStat {
    const size = node.size
    return {
      type: node.type,
      mode: node.mode,
      uid: node.uid,
      gid: node.gid,
      size,
      nlink: node.nlink,
      dev: this.#device,
      ino: BigInt(node.inode),
      device: node instanceof SpecialNode ? node.device : NO_DEVICE,
      blocks: Math.ceil(size / 512),
      atimeNs: node.atimeNs,
      mtimeNs: node.mtimeNs,
      ctimeNs: node.mtimeNs,
      birthtimeNs: node.mtimeNs,
    }
  }
}

let lastDevice = 0n
const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 }
const NOTHING = Buffer.alloc(0)

abstract class Node {
  abstract readonly type: FileType
  readonly inode: number
  mode: number
  uid = 0
  gid = 0
  nlink = 1
  atimeNs = 0n
  mtimeNs = 0n
  xattrs: Map<ByteString, Buffer> | undefined = undefined

  constructor(inode: number, mode: number) {
    this.inode = inode
    this.mode = mode
  }

  get size(): number {
    return 0
  }
}

class DirectoryNode extends Node {
  readonly children = new Map<ByteString, Node>()
  override nlink = 2

  get type(): FileType {
    return 'directory'
  }
}

class FileNode extends Node {
  /** A buffer may be larger than the content. `length` is the size of the content. */
  content: FileReference | Buffer = NOTHING
  length = 0

  get type(): FileType {
    return 'file'
  }

  override get size(): number {
    return isReference(this.content) ? this.content.size : this.length
  }
}

class SymlinkNode extends Node {
  readonly target: ByteString

  constructor(inode: number, target: ByteString) {
    super(inode, 0o777)
    this.target = target
  }

  get type(): FileType {
    return 'symlink'
  }

  override get size(): number {
    return this.target.length
  }
}

class SpecialNode extends Node {
  readonly type: FileType
  readonly device: DeviceNumber

  constructor(inode: number, mode: number, type: FileType, device: DeviceNumber) {
    super(inode, mode)
    this.type = type
    this.device = device
  }
}

class MemoryFile implements SyncFile {
  readonly #node: FileNode
  readonly #stat: () => SyncStat
  readonly #appends: boolean
  readonly #elsewhere: { readonly file: SyncFile; readonly reference: FileReference } | undefined

  constructor(node: FileNode, stat: () => SyncStat, appends: boolean) {
    this.#node = node
    this.#stat = stat
    this.#appends = appends
    const { content } = node
    if (isReference(content)) this.#elsewhere = { file: openReference(content), reference: content }
    const fd = this.#elsewhere?.file.fd
    if (fd !== undefined) this.fd = fd
  }

  declare readonly fd?: number

  read(buffer: Uint8Array, position: number): number {
    if (this.#elsewhere !== undefined) {
      return readReference(this.#elsewhere.reference, this.#elsewhere.file, buffer, position)
    }
    const { content, length } = this.#node
    if (isReference(content) || position >= length) return 0
    return content.copy(buffer, 0, position, Math.min(length, position + buffer.length))
  }

  write(buffer: Uint8Array, position: number): number {
    const node = this.#node
    const start = this.#appends ? node.length : position
    resize(node, Math.max(node.length, start + buffer.length))
    if (!isReference(node.content)) node.content.set(buffer, start)
    return buffer.length
  }

  stat(): SyncStat {
    return this.#stat()
  }

  truncate(size: number): void {
    resize(this.#node, size)
  }

  chmod(mode: number): void {
    this.#node.mode = mode
  }

  chown(uid: number, gid: number): void {
    setOwner(this.#node, uid, gid)
  }

  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    setTimes(this.#node, atimeNs, mtimeNs)
  }

  sync(): void {}

  close(): void {
    this.#elsewhere?.file.close()
  }
}

function isReference(content: FileReference | Buffer): content is FileReference {
  return !Buffer.isBuffer(content)
}

function openReference({ fs, path }: FileReference): SyncFile {
  try {
    return fs.openSeen?.(path) ?? fs.open(path, O_RDONLY)
  } catch (error) {
    throw isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP') ? damagedFile(path, 'it is missing', error) : error
  }
}

function readReference(
  { path, size }: FileReference,
  file: SyncFile,
  buffer: Uint8Array,
  position: number,
): number {
  const count = file.read(buffer, position)
  if (count === 0 && buffer.length > 0 && position < size)
    throw damagedFile(path, `it has ${position} bytes, not ${size}`)
  return count
}

/** Reads referenced content into memory, so that it can be changed. */
function materialise(file: FileNode): void {
  const { content } = file
  if (!isReference(content)) return
  const bytes = Buffer.alloc(content.size)
  const source = openReference(content)
  try {
    for (let at = 0; at < bytes.length;) at += readReference(content, source, bytes.subarray(at), at)
  } finally {
    source.close()
  }
  file.content = bytes
  file.length = bytes.length
}

function resize(file: FileNode, size: number): void {
  const { content } = file
  if (isReference(content)) return
  if (size > content.length) {
    const grown = Buffer.alloc(file.length === 0 ? size : Math.max(size, content.length * 2))
    content.copy(grown, 0, 0, file.length)
    file.content = grown
  } else if (size > file.length) {
    content.fill(0, file.length, size)
  }
  file.length = size
}

function setOwner(node: Node, uid: number, gid: number): void {
  if (uid !== -1) node.uid = uid
  if (gid !== -1) node.gid = gid
}

function setTimes(node: Node, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  if (atimeNs !== undefined) node.atimeNs = atimeNs
  if (mtimeNs !== undefined) node.mtimeNs = mtimeNs
}

function failure(code: string, syscall: string, path: ByteString): NodeJS.ErrnoException {
  const number = (constants.errno as Record<string, number>)[code] ?? 0
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), {
    code,
    errno: -number,
    syscall,
    path,
  })
}
