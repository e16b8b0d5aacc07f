import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import fse from 'fs-extra'
import { writeFileAtomic } from './atomic-file.js'
import { Lock } from './lock.js'

const SUFFIX = '.json'
const LOCK_SUFFIX = '.lock'

/**
 * A lease says what an operation is about to make, before it makes it, so that after a crash somebody can take it away.
 *
 * 1. Its lock is held from before the lease exists until after it is gone, by the process that works under it.
 * 2. Names are on disk in the lease before the things they name exist.
 * 3. The lease goes after what it names has become part of the store, or is gone.
 * 4. So a lease whose lock is free is one of a dead process, and what it names is half made, or whole and in the store.
 */
export class Lease {
  readonly #path: string
  readonly #lock: Lock

  private constructor(path: string, lock: Lock) {
    this.#path = path
    this.#lock = lock
  }

  static async take(directory: string, names: readonly string[]): Promise<Lease> {
    await fse.ensureDir(directory)
    const path = join(directory, randomBytes(12).toString('hex'))
    const lock = await Lock.acquire(path + LOCK_SUFFIX)
    try {
      await writeFileAtomic(path + SUFFIX, JSON.stringify(names))
    } catch (error) {
      await rm(path + LOCK_SUFFIX, { force: true })
      await lock.release()
      throw error
    }
    return new Lease(path, lock)
  }

  async end(): Promise<void> {
    await rm(this.#path + SUFFIX, { force: true })
    await rm(this.#path + LOCK_SUFFIX, { force: true })
    await this.#lock.release()
  }

  /** Names in leases of live processes and dead ones alike. */
  static async named(directory: string): Promise<Set<string>> {
    const names = new Set<string>()
    for (const id of await leaseIds(directory)) {
      for (const name of await readNames(join(directory, id + SUFFIX))) names.add(name)
    }
    return names
  }

  /** Leases of dead processes, taken over: the caller clears what each names, then ends it. */
  static async *abandoned(
    directory: string,
  ): AsyncGenerator<{ readonly lease: Lease; readonly names: string[] }> {
    for (const id of await leaseIds(directory)) {
      const path = join(directory, id)
      const lock = await Lock.tryAcquire(path + LOCK_SUFFIX)
      if (lock === undefined) continue
      yield { lease: new Lease(path, lock), names: await readNames(path + SUFFIX) }
    }
  }
}

async function leaseIds(directory: string): Promise<string[]> {
  const files = await readdir(directory).catch(() => [])
  return files
    .filter((file) => file.endsWith(SUFFIX) && !file.startsWith('.'))
    .map((file) => file.slice(0, -SUFFIX.length))
}

/** A lease that ended meanwhile names nothing. */
async function readNames(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '[]')
  return JSON.parse(text) as string[]
}
