import type { ByteString } from '../bytes.js'
import type { SyncFile, SyncStat } from '../sync-fs.js'
import { failure } from './failure.js'

/** Open files of lower layers, by the path at which they were opened. */
export class LowerFiles {
  readonly #byPath = new Map<ByteString, Set<LowerFile>>()

  /** @param copyUp copies up the object that shows at `path` */
  add(path: ByteString, lower: SyncFile, copyUp: (path: ByteString) => void): LowerFile {
    const file: LowerFile = new LowerFile(path, lower, {
      copyUp: () => {
        if (this.#byPath.get(path)?.has(file) === true) copyUp(path)
      },
      onClose: () => this.#remove(path, file),
    })
    const others = this.#byPath.get(path)
    if (others === undefined) this.#byPath.set(path, new Set([file]))
    else others.add(file)
    return file
  }

  /** The object at `path` was copied up; `open` opens the copy. */
  follow(path: ByteString, open: () => SyncFile): void {
    const files = this.#byPath.get(path)
    if (files === undefined) return
    this.#byPath.delete(path)
    for (const file of files) file.follow(open())
  }

  /** The object at `path` lost that name. */
  detach(path: ByteString): void {
    this.#byPath.delete(path)
  }

  #remove(path: ByteString, file: LowerFile): void {
    const files = this.#byPath.get(path)
    files?.delete(file)
    if (files?.size === 0) this.#byPath.delete(path)
  }
}

/**
 * A file of a lower layer, open for reading. When it is copied up, it switches to the copy, as on a kernel's overlay:
 * later reads see what is written, and `fd` is another descriptor. A change of the file's attributes copies it up
 * first, so the lower layer is never modified.
 */
export class LowerFile implements SyncFile {
  readonly #path: ByteString
  readonly #lower: SyncFile
  readonly #hooks: { readonly copyUp: () => void; readonly onClose: () => void }
  #upper: SyncFile | undefined

  constructor(path: ByteString, lower: SyncFile, hooks: { copyUp: () => void; onClose: () => void }) {
    this.#path = path
    this.#lower = lower
    this.#hooks = hooks
  }

  get fd(): number {
    return this.#current.fd as number
  }

  /** `upper` is closed with this file. The lower descriptor also stays open until then, for reads under way. */
  follow(upper: SyncFile): void {
    this.#upper = upper
  }

  read(buffer: Uint8Array, position: number): number {
    return this.#current.read(buffer, position)
  }

  write(buffer: Uint8Array, position: number): number {
    return this.#current.write(buffer, position)
  }

  stat(): SyncStat {
    return this.#current.stat()
  }

  truncate(size: number): void {
    this.#current.truncate(size)
  }

  chmod(mode: number): void {
    this.#writable('fchmod').chmod(mode)
  }

  chown(uid: number, gid: number): void {
    this.#writable('fchown').chown(uid, gid)
  }

  utimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#writable('futime').utimes(atimeNs, mtimeNs)
  }

  sync(): void {
    this.#upper?.sync()
  }

  close(): void {
    this.#hooks.onClose()
    this.#lower.close()
    this.#upper?.close()
  }

  get #current(): SyncFile {
    return this.#upper ?? this.#lower
  }

  /** Throws `EROFS` if the file lost its name after it was opened, because it can no longer be copied up. */
  #writable(syscall: string): SyncFile {
    if (this.#upper === undefined) this.#hooks.copyUp()
    if (this.#upper === undefined) throw failure('EROFS', syscall, this.#path)
    return this.#upper
  }
}
