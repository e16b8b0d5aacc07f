import { fsync as fsyncWithCallback } from 'node:fs'
import { promisify } from 'node:util'
import type { ByteString } from '../bytes.js'
import { copyContent, copyContentInPieces } from '../copy-content.js'
import type { CopyUp } from './copy-up.js'
import type { HostFs } from '../host/host-fs.js'
import type { SyncStat } from '../sync-fs.js'
import type { UnionLookup } from './lookup.js'

const fsync = promisify(fsyncWithCallback)

/** Files up to this size are copied at once, in about a millisecond. */
const SMALL = 1024 * 1024

/**
 * Copy-ups that run on the thread pool because the file is large or must be synced. Each path has one copy, however
 * many callers wait for it. Concurrent syncs share a journal commit of the file system.
 */
export class PendingCopies {
  readonly #lookup: UnionLookup
  readonly #copyUp: CopyUp
  readonly #copies = new Map<ByteString, PendingCopy>()

  constructor(lookup: UnionLookup, copyUp: CopyUp) {
    this.#lookup = lookup
    this.#copyUp = copyUp
  }

  /**
   * Resolves when nothing long remains to do before a write to `path`. An aborted wait rejects at once; the copy goes
   * on while other callers wait for it. If the path is written, moved or removed meanwhile, the copy is dropped.
   */
  async prepare(path: ByteString, signal?: AbortSignal, stat?: SyncStat): Promise<void> {
    signal?.throwIfAborted()
    const copy = this.#copies.get(path) ?? this.#start(path, stat)
    if (copy === undefined) return
    copy.waiting += 1
    try {
      await waitFor(copy.done, signal)
    } finally {
      copy.waiting -= 1
      if (copy.waiting === 0) this.#cancel(path, copy)
    }
  }

  close(): void {
    for (const [path, copy] of this.#copies) this.#cancel(path, copy)
  }

  #start(path: ByteString, known: SyncStat | undefined): PendingCopy | undefined {
    const place = this.#lookup.find('open', path)
    if (place === undefined || place.inUpper || place.type !== 'file') return undefined
    const stat = known ?? place.fs.lstat(path)
    if (stat.size === 0 || (stat.size <= SMALL && !this.#copyUp.syncs)) return undefined
    const controller = new AbortController()
    const done = this.#copy(place.fs, path, stat, controller.signal)
    const copy: PendingCopy = { done, controller, waiting: 0 }
    const forget = () => this.#forget(path, copy)
    copy.done.then(forget, forget)
    this.#copies.set(path, copy)
    return copy
  }

  async #copy(fs: HostFs, path: ByteString, stat: SyncStat, signal: AbortSignal): Promise<void> {
    const staged = this.#copyUp.stage(fs, path, stat)
    try {
      if (stat.size <= SMALL) copyContent(staged.from, staged.to, stat.size, stat)
      else await copyContentInPieces(staged.from, staged.to, stat, signal)
      if (this.#copyUp.syncs) await fsync(staged.to.fd as number)
      signal.throwIfAborted()
      staged.finish()
    } finally {
      staged.release()
    }
  }

  #cancel(path: ByteString, copy: PendingCopy): void {
    this.#forget(path, copy)
    copy.controller.abort()
  }

  #forget(path: ByteString, copy: PendingCopy): void {
    if (this.#copies.get(path) === copy) this.#copies.delete(path)
  }
}

interface PendingCopy {
  readonly done: Promise<void>
  readonly controller: AbortController
  waiting: number
}

function waitFor(done: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return done
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    done.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
