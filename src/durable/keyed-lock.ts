import { closeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from '../errors.js'
import { tryByteLock } from '../sys/byte-lock.js'
import { libcAvailable } from '../sys/libc.js'
import { Lock } from './lock.js'
import { openLockFile } from './open-lock-file.js'

const FIRST_WAIT = 1
const LONGEST_WAIT = 20
const PATIENCE = 60_000

/**
 * One lock per key, all in one file: cheaper than a file per key, and nothing needs cleaning up. A lock ends with its
 * process. Callers that wait for the same key are served in random order.
 *
 * With system calls, a lock is a byte of the file, chosen by the key's hash. Without them, it is a lock file beside it.
 */
export class KeyedLocks {
  readonly #path: string

  /** @param path of the file; its directory must exist when a lock is acquired */
  constructor(path: string) {
    this.#path = path
  }

  /** Rejects with `STORE_LOCKED` after one minute. */
  async acquire(key: string): Promise<Release> {
    if (!libcAvailable().works) return releaseOf(await Lock.acquire(`${this.#path}-${key}`))
    const end = Date.now() + PATIENCE
    for (let wait = FIRST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      const release = this.#tryByte(key)
      if (release !== undefined) return release
      if (Date.now() >= end) throw locked(this.#path, key)
      await sleep(wait * (0.5 + Math.random() / 2))
    }
  }

  /** Returns the lock if it is free. */
  async tryAcquire(key: string): Promise<Release | undefined> {
    if (libcAvailable().works) return this.#tryByte(key)
    const lock = await Lock.tryAcquire(`${this.#path}-${key}`)
    return lock && releaseOf(lock)
  }

  #tryByte(key: string): Release | undefined {
    const fd = openLockFile(this.#path)
    try {
      if (tryByteLock(fd, byteOf(key))) return async () => closeSync(fd)
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(fd)
    return undefined
  }
}

export type Release = () => Promise<void>

function releaseOf(lock: Lock): Release {
  return () => lock.release()
}

/** A 48-bit hash based on FNV-1a. Keys that share a byte wait for each other, with no other effect. */
function byteOf(key: string): bigint {
  let [high, low] = [0x811c9dc5, 0x01000193]
  for (let index = 0; index < key.length; index++) {
    high = Math.imul(high ^ key.charCodeAt(index), 0x01000193)
    low = Math.imul(low ^ key.charCodeAt(index) ^ index, 0x85ebca6b)
  }
  return BigInt((high >>> 8) * 0x1000000 + (low >>> 8))
}

function locked(path: string, key: string): StoreError {
  return new StoreError('STORE_LOCKED', `another process holds the lock ${key} in ${path}`, {
    path,
    hint: 'wait until it is done, or end it; the lock ends with its process',
  })
}
