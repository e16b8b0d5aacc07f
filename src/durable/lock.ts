import { closeSync, fstatSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isErrno, StoreError } from '../errors.js'
import { tryFlock } from '../sys/flock.js'
import { libcAvailable } from '../sys/libc.js'
import { tryLockFile } from './lock-file.js'
import { openLockFile } from './open-lock-file.js'
import { Turns } from './turns.js'
import { WaitingLine } from './waiting-line.js'

/** In ms. */
const FIRST_IN_LINE_WAIT = 1
const IN_LINE_WAIT = 2
const FIRST_WAIT = 1
const LONGEST_WAIT = 20
const PATIENCE = 60_000

const LINE_SUFFIX = '.queue'

export interface LockOptions {
  /** Aborting rejects the call with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** How long to wait, in ms, before the call rejects with `STORE_LOCKED`. @default 60000 */
  readonly patience?: number
}

/**
 * An exclusive lock between processes, and between callers in one process.
 *
 * 1. With system calls, it is a flock(2) on the file, which remains after the lock is released. It ends with its
 *    process, however that ends. It belongs to one open file description, so it also excludes other callers in the same
 *    process.
 * 2. If the file was removed and recreated while its lock was being taken, it is a different file, and the lock is
 *    released.
 * 3. Without system calls, it is a file beside it that names the holder's process (`lock-file.ts`). Processes with
 *    system calls and processes without do not see each other's locks.
 *
 * Callers are served in order of arrival: `Turns` orders callers in one process, and a `WaitingLine` in `<path>.queue`
 * orders processes. Without system calls, the order between processes is random, and a process that constantly wants a
 * lock periodically yields to other processes. A lock is not reentrant: acquiring a lock that the caller holds never
 * succeeds.
 */
export class Lock implements AsyncDisposable {
  readonly #release: () => Promise<void> | void
  #held = true

  private constructor(release: () => Promise<void> | void) {
    this.#release = release
  }

  static async acquire(path: string, { signal, patience = PATIENCE }: LockOptions = {}): Promise<Lock> {
    signal?.throwIfAborted()
    const end = Date.now() + patience
    const queue = queueOf(path)
    if (!(await queue.turns.take(patience, signal))) throw locked(path)
    try {
      const release = await (libcAvailable().works
        ? inLine(path, end, signal)
        : byChance(path, queue, end, signal))
      return new Lock(async () => {
        try {
          await release()
        } finally {
          leave(queue)
        }
      })
    } catch (error) {
      leave(queue)
      throw error
    }
  }

  /** Returns the lock if it is free. */
  static async tryAcquire(path: string): Promise<Lock | undefined> {
    const release = await attempt(path)
    return release === undefined ? undefined : new Lock(release)
  }

  /** Idempotent. */
  async release(): Promise<void> {
    if (!this.#held) return
    this.#held = false
    await this.#release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}

type Release = () => Promise<void> | void

/** Only the first in line tries, so a newly arrived process cannot overtake waiting ones. */
async function inLine(path: string, end: number, signal: AbortSignal | undefined): Promise<Release> {
  const line = `${path}${LINE_SUFFIX}`
  const atOnce = WaitingLine.isEmpty(line) ? flockOnce(path) : undefined
  if (atOnce !== undefined) return atOnce
  const place = WaitingLine.join(line)
  try {
    for (;;) {
      signal?.throwIfAborted()
      const isFirst = place.isFirst()
      const release = isFirst ? flockOnce(path) : undefined
      if (release !== undefined) return release
      if (Date.now() >= end) throw locked(path)
      await sleep(isFirst ? FIRST_IN_LINE_WAIT : IN_LINE_WAIT)
    }
  } finally {
    place.leave()
  }
}

async function byChance(
  path: string,
  queue: Queue,
  end: number,
  signal: AbortSignal | undefined,
): Promise<Release> {
  if (isGreedy(queue)) await sleep(1.25 * LONGEST_WAIT)
  for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    signal?.throwIfAborted()
    const release = await tryLockFile(`${path}.held`)
    if (release !== undefined) return release
    if (Date.now() >= end) throw locked(path)
    // Jitter separates processes that began to wait at the same moment.
    await sleep(wait * (0.5 + Math.random() / 2))
  }
}

async function attempt(path: string): Promise<Release | undefined> {
  return libcAvailable().works ? flockOnce(path) : tryLockFile(`${path}.held`)
}

function flockOnce(path: string): Release | undefined {
  const fd = openLockFile(path)
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

function locked(path: string): StoreError {
  return new StoreError('STORE_LOCKED', `another process holds the lock ${path}`, {
    path,
    hint: 'wait until it is done, or end it; the lock ends with its process',
  })
}

interface Queue {
  readonly turns: Turns
  /** When this process began to retake the lock repeatedly, and when it last released it. */
  began: number
  left: number
}

/**
 * How long, in ms, a process may keep retaking the lock, with pauses shorter than other processes sleep between tries.
 */
const GREEDY = 500
/** Number of queues kept before idle ones are dropped. */
const MANY = 1000
const queues = new Map<string, Queue>()

function queueOf(path: string): Queue {
  const key = resolve(path)
  let queue = queues.get(key)
  if (queue === undefined) {
    if (queues.size >= MANY) forgetIdle()
    queues.set(key, (queue = { turns: new Turns(), began: 0, left: 0 }))
  }
  return queue
}

function forgetIdle(): void {
  for (const [key, { turns, left }] of queues) {
    if (turns.isIdle && Date.now() - left > LONGEST_WAIT) queues.delete(key)
  }
}

function isGreedy(queue: Queue): boolean {
  const now = Date.now()
  if (now - queue.left > LONGEST_WAIT) queue.began = now
  if (now - queue.began < GREEDY) return false
  queue.began = now
  return true
}

function leave(queue: Queue): void {
  queue.left = Date.now()
  queue.turns.next()
}
