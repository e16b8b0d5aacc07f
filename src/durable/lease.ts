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
/** A file of a lease's size, which is overwritten if the disk has no room for a new lease. */
const SPARE = 'spare'
const SPARE_SUFFIX = '.spare'
const ROOM = 4096
const ID = /^[a-f0-9]{24}(?=\.)/

/**
 * A lease records what an operation is about to make, so that recovery can remove it after a crash. It consists of two
 * files, `<id>.lock` and `<id>.json`. A spare file of the same size is kept beside them for when the disk is full.
 *
 * 1. The working process holds the lock from before the lease exists until after it is removed.
 * 2. Names are on disk in the lease before the things they name exist.
 * 3. The lease is removed only after what it names has become part of the store or has been removed.
 * 4. So a lease whose lock is free belongs to a dead process. What it names is half made, or complete and in the store.
 * 5. A lock without a lease belongs to a process that is starting or ending a lease, or died doing so: nothing was
 *    made.
 * 6. After a power cut, an ended lease may reappear. What it names is then in the store or removed, so 4 holds.
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

  /** Cleanup may take a lock that has no lease yet; then another ID is tried. */
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

  /** If the disk is full, writes the lease into the spare file. With that lease, the operation can free space. */
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

  /** Leaves the lease as if its process had died: the next process that opens the store removes what it names. */
  async abandon(): Promise<void> {
    await this.#lock.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
  }

  /** Returns the names in all leases, of live and dead processes, except those of `except`. */
  static async named(directory: string, except?: Lease): Promise<Set<string>> {
    const names = new Set<string>()
    for (const id of leaseIds(directory)) {
      if (except !== undefined && except.#path === join(directory, id)) continue
      for (const name of readNames(join(directory, id + SUFFIX)) ?? []) names.add(name)
    }
    return names
  }

  /** Returns the names in leases of live processes only. */
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
   * Takes over the leases of dead processes. The caller removes what each names, then ends it. A lease that the caller
   * does not end is found again as abandoned.
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

/** Returns whether a spare existed and this process obtained it. */
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

/** Returns `undefined` if the lease does not exist. */
function readNames(path: string): string[] | undefined {
  try {
    const text = readFileIfThere(path)?.toString('utf8')
    return text === undefined ? undefined : (JSON.parse(text) as string[])
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new StoreError('STORE_CORRUPT', `${path} is damaged: it is not a list of names`, {
      path,
      cause: error,
      hint: 'you can remove it; a half-made layer may be left over',
    })
  }
}
