import { O_ACCMODE, O_APPEND, O_RDONLY, O_WRONLY } from '../fs/open-flags.js'
import type { RawFile, RawStat } from '../fs/raw-fs.js'
import { systemError } from '../sys/errno.js'
import { setTimes } from './inode.js'
import type { VolumeFs } from './volume-fs.js'

/** An open file of a volume; it stays readable when its last name is removed. */
export class VolumeFile implements RawFile {
  readonly #fs: VolumeFs
  readonly #inode: number
  readonly #reads: boolean
  readonly #writes: boolean
  readonly #appends: boolean
  #open = true

  constructor(fs: VolumeFs, inode: number, flags: number) {
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

  stat(): RawStat {
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
