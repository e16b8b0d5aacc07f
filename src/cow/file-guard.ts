import { closeSync } from 'node:fs'
import { Lock } from '../durable/lock.js'
import { openLockFile } from '../durable/open-lock-file.js'
import { tryFlock, unlockFlock } from '../sys/flock.js'
import { libcAvailable } from '../sys/libc.js'
import type { Guard } from './guard.js'

export interface FileGuard extends Guard {
  close(): Promise<void>
}

/** How long a process without system calls waits for another process to close the store, in ms. */
const PATIENCE = 10_000

/**
 * Opens the guard that lets one process at a time change a store. Without system calls, the first process to open the
 * store keeps the guard until it closes it. Other processes get `STORE_LOCKED`.
 */
export async function openGuard(path: string): Promise<FileGuard> {
  if (libcAvailable().works) return new FlockGuard(path)
  const lock = await Lock.acquire(path, { patience: PATIENCE })
  const nothing = () => undefined
  return {
    tryAcquire: () => true,
    release: nothing,
    forgo: nothing,
    isWanted: () => false,
    close: () => lock.release(),
  }
}

/**
 * Two locks: `turn` for the process that changes the store, and `next` for the process that follows it. A waiting
 * process keeps `next` until it has `turn`. So the holder cannot retake `turn` ahead of it, and can see that it waits.
 */
class FlockGuard implements FileGuard {
  readonly #turn: number
  readonly #next: number
  #isNext = false

  constructor(path: string) {
    this.#turn = openLockFile(path)
    this.#next = openLockFile(`${path}.next`)
  }

  tryAcquire(): boolean {
    this.#isNext ||= tryFlock(this.#next, 'exclusive')
    if (!this.#isNext || !tryFlock(this.#turn, 'exclusive')) return false
    unlockFlock(this.#next)
    this.#isNext = false
    return true
  }

  release(): void {
    unlockFlock(this.#turn)
  }

  forgo(): void {
    if (this.#isNext) unlockFlock(this.#next)
    this.#isNext = false
  }

  isWanted(): boolean {
    if (!tryFlock(this.#next, 'exclusive')) return true
    unlockFlock(this.#next)
    return false
  }

  async close(): Promise<void> {
    closeSync(this.#turn)
    closeSync(this.#next)
  }
}
