import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  readSync,
  writeSync,
} from 'node:fs'
import { systemError } from '../../sys/errno.js'
import { libcAvailable } from '../../sys/libc.js'
import { futimens } from '../../sys/times.js'
import { fgetxattr, flistxattr } from '../../sys/xattr.js'
import { dropCapability, ownedBy, type Attributes, type Subject } from '../attributes.js'
import { bytesToHost, toBytes, type ByteString } from '../bytes.js'
import { rawStat } from './host-stat.js'
import type { SyncFile, SyncStat } from '../sync-fs.js'

/** An open file of the host. It stays the same file, whatever happens to its path. */
export class HostFile implements SyncFile {
  readonly #descriptor: number
  readonly #subject: Subject
  readonly #append: boolean
  readonly #attributes: Attributes | undefined
  #open = true

  constructor(fd: number, path: ByteString, append: boolean, attributes: Attributes | undefined) {
    this.#descriptor = fd
    this.#subject = { path, host: fd }
    this.#append = append
    this.#attributes = attributes
    attributes?.paths?.opened(path, fd)
  }

  /** Throws `EBADF` once the file is closed, since the number may then belong to another file. */
  get fd(): number {
    if (!this.#open) throw systemError('EBADF', 'fcntl')
    return this.#descriptor
  }

  read(buffer: Uint8Array, position: number): number {
    return readSync(this.fd, buffer, 0, buffer.length, position)
  }

  write(buffer: Uint8Array, position: number): number {
    return writeSync(this.fd, buffer, 0, buffer.length, this.#append ? null : position)
  }

  stat(): SyncStat {
    const inode = rawStat(fstatSync(this.fd, { bigint: true }))
    return this.#attributes?.seen(this.#subject, inode) ?? inode
  }

  listxattr(): ByteString[] {
    if (this.#attributes !== undefined) return this.#attributes.list(this.#subject)
    return libcAvailable().works ? flistxattr(this.fd).map((name) => toBytes(name)) : []
  }

  getxattr(name: ByteString): Buffer | undefined {
    if (this.#attributes !== undefined) return this.#attributes.get(this.#subject, name)
    return libcAvailable().works ? fgetxattr(this.fd, bytesToHost(name)) : undefined
  }

  truncate(size: number): void {
    ftruncateSync(this.fd, size)
  }

  chmod(mode: number): void {
    if (this.#attributes === undefined) return fchmodSync(this.fd, mode)
    const stat = this.stat()
    this.#attributes.keep(this.#subject, { ...stat, mode })
    fchmodSync(this.fd, this.#attributes.hostMode(stat.type, mode))
  }

  chown(uid: number, gid: number): void {
    if (this.#attributes === undefined) return fchownSync(this.fd, uid, gid)
    const stat = this.stat()
    if (stat.type === 'file') dropCapability(this.#attributes, this.#subject)
    this.#attributes.keep(this.#subject, ownedBy(stat, uid, gid))
  }

  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    if (libcAvailable().works) futimens(this.fd, atimeNs, mtimeNs)
    else this.#setTimes(atimeNs, mtimeNs)
    if (mtimeNs === undefined || this.#attributes?.paths === undefined) return
    const inode = fstatSync(this.fd, { bigint: true })
    this.#attributes.paths.timed(this.#subject, mtimeNs, inode.mtimeNs)
  }

  sync(): void {
    fsyncSync(this.fd)
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#attributes?.paths?.closed(this.#descriptor)
    closeSync(this.#descriptor)
  }

  detach(): number | undefined {
    if (!this.#open || this.#attributes !== undefined) return undefined
    this.#open = false
    return this.#descriptor
  }

  #setTimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    const now = fstatSync(this.fd, { bigint: true })
    futimesSync(this.fd, seconds(atimeNs ?? now.atimeNs), seconds(mtimeNs ?? now.mtimeNs))
  }
}

/** Converts to seconds for Node, which takes times as doubles: exact to some µs. */
export function seconds(ns: bigint): number {
  return Number(ns) / 1e9
}
