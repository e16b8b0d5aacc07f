import { O_ACCMODE, O_APPEND, O_RDONLY, O_WRONLY } from '../fs/open-flags.js'
import type { SyncFile, SyncStat } from '../fs/sync-fs.js'
import { systemError } from '../sys/errno.js'
import { setTimes, type Inode } from './inode.js'

/** What an open file needs from its volume, by inode number. */
export interface VolumeInodes {
  /** The inode stays until `closed` was called as often as `opened`. */
  opened(inode: number): void
  closed(inode: number): void
  stat(inode: number): SyncStat
  readContent(inode: number, buffer: Uint8Array, position: number): number
  /** Without a position, appends to the file. */
  writeContent(inode: number, bytes: Uint8Array, position: number | undefined): number
  resize(inode: number, size: number): void
  chmodInode(inode: number, mode: number): void
  giveInode(inode: number, uid: number, gid: number): void
  changeInode(inode: number, work: (inode: Inode) => void): void
  sync(): void
}

/** An open file of a volume. It stays readable after its last name is removed. */
export class VolumeFile implements SyncFile {
  readonly #fs: VolumeInodes
  readonly #inode: number
  readonly #reads: boolean
  readonly #writes: boolean
  readonly #appends: boolean
  #open = true

  constructor(fs: VolumeInodes, inode: number, flags: number) {
    this.#fs = fs
    this.#inode = inode
    this.#reads = (flags & O_ACCMODE) !== O_WRONLY
    this.#writes = (flags & O_ACCMODE) !== O_RDONLY
    this.#appends = (flags & O_APPEND) !== 0
    fs.opened(inode)
  }

  read(buffer: Uint8Array, position: number): number {
    if (buffer.length === 0) return 0
    if (!this.#reads) throw systemError('EBADF', 'read')
    return this.#fs.readContent(this.#inode, buffer, position)
  }

  write(buffer: Uint8Array, position: number): number {
    this.#mustWrite('write', 'EBADF')
    return this.#fs.writeContent(this.#inode, buffer, this.#appends ? undefined : position)
  }

  stat(): SyncStat {
    return this.#fs.stat(this.#inode)
  }

  truncate(size: number): void {
    this.#mustWrite('ftruncate', 'EINVAL')
    this.#fs.resize(this.#inode, size)
  }

  chmod(mode: number): void {
    this.#fs.chmodInode(this.#inode, mode)
  }

  chown(uid: number, gid: number): void {
    this.#fs.giveInode(this.#inode, uid, gid)
  }

  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#fs.changeInode(this.#inode, (inode) => setTimes(inode, atimeNs, mtimeNs))
  }

  sync(): void {
    this.#fs.sync()
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#fs.closed(this.#inode)
  }

  #mustWrite(syscall: string, code: string): void {
    if (!this.#writes) throw systemError(code, syscall)
  }
}
