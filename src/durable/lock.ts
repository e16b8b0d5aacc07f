import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, StoreError } from '../errors.js'
import { tryFlock } from '../sys/flock.js'
import { libcAvailable } from '../sys/libc.js'
import { isAlive, processMark } from './process-mark.js'

const FIRST_WAIT = 1
const LONGEST_WAIT = 50
const PATIENCE = 60_000

export interface LockOptions {
  readonly signal?: AbortSignal | undefined
  /** How long to wait, in ms, before the call rejects with `STORE_LOCKED`. @default 60000 */
  readonly patience?: number
}

/**
 * A lock between processes, and between the callers in one: whoever holds it is alone. It ends with its process, however
 * that ends.
 *
 * - With system calls it is a flock(2) on the file, which stays when it is released.
 * - Without, it is a file that names its holder's process; one whose process is gone is taken away.
 *
 * It is not reentrant: who waits for a lock that it holds waits in vain.
 */
export class Lock implements AsyncDisposable {
  readonly #release: () => Promise<void> | void
  #held = true

  private constructor(release: () => Promise<void> | void) {
    this.#release = release
  }

  static async acquire(path: string, { signal, patience = PATIENCE }: LockOptions = {}): Promise<Lock> {
    const attempt = libcAvailable().works ? flockOnce : markOnce
    const end = Date.now() + patience
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      signal?.throwIfAborted()
      const release = await attempt(path)
      if (release !== undefined) return new Lock(release)
      if (Date.now() >= end) throw locked(path)
      await sleep(wait, undefined, { signal })
    }
  }

  /** The lock if nobody holds it. */
  static async tryAcquire(path: string): Promise<Lock | undefined> {
    const release = await (libcAvailable().works ? flockOnce : markOnce)(path)
    return release === undefined ? undefined : new Lock(release)
  }

  async release(): Promise<void> {
    if (!this.#held) return
    this.#held = false
    await this.#release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}

/** A file that was removed and made anew while we waited is another file: the lock on the old one is worth nothing. */
function flockOnce(path: string): (() => void) | undefined {
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
  try {
    if (tryFlock(fd, 'exclusive') && isStillThere(fd, path)) return () => closeSync(fd)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  closeSync(fd)
  return undefined
}

function isStillThere(fd: number, path: string): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

async function markOnce(path: string): Promise<(() => Promise<void>) | undefined> {
  const mark = `${path}.held`
  try {
    await writeFile(mark, await processMark(), { flag: 'wx', mode: 0o600 })
    return () => rm(mark, { force: true })
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
  const holder = await readFile(mark, 'utf8').catch(() => '')
  if (holder !== '' && !(await isAlive(holder))) await rm(mark, { force: true })
  return undefined
}

function locked(path: string): StoreError {
  return new StoreError('STORE_LOCKED', `another process holds ${path}`, {
    path,
    hint: 'wait until it is done, or end it; the lock ends with its process',
  })
}
