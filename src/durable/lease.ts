import { randomBytes } from 'node:crypto'
import { renameSync, rmSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isErrno, isNoSpace, storeError, StoreError } from '../errors.js'
import { namesIn } from './abandoned.js'
import { writeFileAtomic, writeNewFile } from './atomic-file.js'
import { Lock } from './lock.js'
import { makeDirectory } from './make-directory.js'
import { readFileIfThere } from './read-file.js'
import { overwriteFile } from './overwrite-file.js'
import { syncDirectory } from './sync-directory.js'

const SUFFIX = '.json'
const LOCK_SUFFIX = '.lock'
/** A file as large as a lease, which is written over when there is no room for one. */
const SPARE = 'spare'
const SPARE_SUFFIX = '.spare'
const ROOM = 4096
const ID = /^[a-f0-9]{24}(?=\.)/

/**
 * A lease says what an operation is about to make, before it makes it, so that after a crash somebody can take it away.
 * It is two files, `<id>.lock` and `<id>.json`. Beside them is one of their size for the time when the disk is full.
 *
 * 1. Its lock is held from before the lease exists until after it is gone, by the process that works under it.
 * 2. Names are on disk in the lease before the things they name exist.
 * 3. The lease goes after what it names has become part of the store, or is gone.
 * 4. So a lease whose lock is free is one of a dead process, and what it names is half made, or whole and in the store.
 * 5. A lock without a lease is of a process that is just beginning or ending one, or died there: nothing was made.
 * 6. After a power cut a lease that was ended may be there again. What it names is then in the store, or gone: 4 holds.
 */
export class Lease implements AsyncDisposable {
  readonly #path: string
  readonly #lock: Lock

  private constructor(path: string, lock: Lock) {
    this.#path = path
    this.#lock = lock
  }

  static async take(directory: string, names: readonly string[]): Promise<Lease> {
    const lease = await Lease.#begin(directory)
    try {
      await lease.#write(directory, JSON.stringify(names))
      return lease
    } catch (error) {
      await lease.end()
      throw error
    }
  }

  /** Somebody who tidies up may take a lock that has no lease yet; then there are other numbers. */
  static async #begin(directory: string): Promise<Lease> {
    try {
      await makeDirectory(directory, { mode: 0o700 })
      for (;;) {
        const path = join(directory, randomBytes(12).toString('hex'))
        const lock = await Lock.tryAcquire(path + LOCK_SUFFIX)
        if (lock !== undefined) return new Lease(path, lock)
      }
    } catch (error) {
      throw isNoSpace(error) ? storeError(error, 'NO_SPACE', `could not write below ${directory}`) : error
    }
  }

  /** Where nothing can be written any more, into the room that is kept for one lease: with it, room can be made. */
  async #write(directory: string, names: string): Promise<void> {
    const [path, spare] = [this.#path + SUFFIX, join(directory, SPARE)]
    try {
      await writeFileAtomic(path, names)
    } catch (error) {
      if (!isNoSpace(error) || names.length > ROOM || !taken(spare, this.#path)) throw error
      await overwriteFile(this.#path, names.padEnd(ROOM))
      renameSync(this.#path, path)
      await syncDirectory(directory)
      return
    }
    if (statSync(spare, { throwIfNoEntry: false })?.size !== ROOM) makeSpare(spare, this.#path + SPARE_SUFFIX)
  }

  async end(): Promise<void> {
    for (const suffix of [SUFFIX, SPARE_SUFFIX, LOCK_SUFFIX]) rmSync(this.#path + suffix, { force: true })
    await this.#lock.release()
  }

  /** Leaves it as one of a dead process: the next one who opens the store clears what it names. */
  async abandon(): Promise<void> {
    await this.#lock.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
  }

  /** Names in leases of live processes and dead ones alike, but for one lease. */
  static async named(directory: string, except?: Lease): Promise<Set<string>> {
    const names = new Set<string>()
    for (const id of leaseIds(directory)) {
      if (except !== undefined && except.#path === join(directory, id)) continue
      for (const name of readNames(join(directory, id + SUFFIX)) ?? []) names.add(name)
    }
    return names
  }

  /** Names in leases of live processes alone. */
  static async namedByLiving(directory: string): Promise<Set<string>> {
    const living = new Set<string>()
    for (const id of leaseIds(directory)) {
      const path = join(directory, id)
      const lock = await Lock.tryAcquire(path + LOCK_SUFFIX)
      try {
        const names = readNames(path + SUFFIX)
        if (lock === undefined) for (const name of names ?? []) living.add(name)
        else if (names === undefined) await removeTraces(directory, id)
      } finally {
        await lock?.release()
      }
    }
    return living
  }

  /**
   * Leases of dead processes, taken over: the caller clears what each names, then ends it. One that it does not end is
   * found abandoned again.
   */
  static async *abandoned(
    directory: string,
  ): AsyncGenerator<{ readonly lease: Lease; readonly names: string[] }> {
    for (const id of leaseIds(directory)) {
      const path = join(directory, id)
      const lock = await Lock.tryAcquire(path + LOCK_SUFFIX)
      if (lock === undefined) continue
      const lease = new Lease(path, lock)
      try {
        const names = readNames(path + SUFFIX)
        if (names === undefined) await removeTraces(directory, id)
        else yield { lease, names }
      } finally {
        await lock.release()
      }
    }
  }
}

function makeSpare(spare: string, path: string): void {
  try {
    writeNewFile(path, ' '.repeat(ROOM))
    renameSync(path, spare)
  } catch (error) {
    rmSync(path, { force: true })
    if (!isNoSpace(error)) throw error
  }
}

/** Whether there was one, and nobody else took it. */
function taken(spare: string, path: string): boolean {
  try {
    renameSync(spare, path)
    return true
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}

function leaseIds(directory: string): Set<string> {
  const ids = namesIn(directory).map((file) => ID.exec(file)?.[0])
  return new Set(ids.filter((id) => id !== undefined))
}

async function removeTraces(directory: string, id: string): Promise<void> {
  for (const file of namesIn(directory)) {
    if (file.includes(id)) await rm(join(directory, file), { force: true })
  }
}

/** `undefined` for a lease that is not there, or no longer. */
function readNames(path: string): string[] | undefined {
  try {
    const text = readFileIfThere(path)?.toString('utf8')
    return text === undefined ? undefined : (JSON.parse(text) as string[])
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new StoreError('STORE_CORRUPT', `${path} is not the list of names that was written there`, {
      path,
      cause: error,
      hint: 'it can be removed; a half-made layer may stay behind',
    })
  }
}
