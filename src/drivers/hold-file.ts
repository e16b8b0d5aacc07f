import { randomBytes } from 'node:crypto'
import { closeSync, unlinkSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openLockFile } from '../durable/open-lock-file.js'
import { isAlive, processMark } from '../sys/process-mark.js'
import { tryFlock } from '../sys/flock.js'
import { libcAvailable } from '../sys/libc.js'

type HoldKind = 'shared' | 'exclusive'

/** One process's hold of a layer, on disk. Used only under the layer's lock. */
export interface HoldFile {
  /** Takes the hold, or changes its kind. Returns false while another hold is in the way. */
  take(kind: HoldKind): Promise<boolean>
  /** Removes the on-disk state of all holds. Only the exclusive holder calls it. */
  clear(): Promise<void>
  leave(): Promise<void>
}

/** A process with system calls and a process without them do not see each other's holds, as with {@link Lock}. */
export function openHoldFile(directory: string, id: string): HoldFile {
  return libcAvailable().works ? new FlockHoldFile(join(directory, id)) : new MarkedHoldFile(directory, id)
}

/** A flock(2) on the layer's file. An unlocked file means nothing and is reused. */
class FlockHoldFile implements HoldFile {
  readonly #path: string
  readonly #fd: number

  constructor(path: string) {
    this.#path = path
    this.#fd = openLockFile(path)
  }

  async take(kind: HoldKind): Promise<boolean> {
    return tryFlock(this.#fd, kind)
  }

  async clear(): Promise<void> {
    unlinkSync(this.#path)
  }

  async leave(): Promise<void> {
    closeSync(this.#fd)
  }
}

/**
 * For systems without flock(2). Each hold is a file with its kind and a mark that shows whether its process is alive.
 */
class MarkedHoldFile implements HoldFile {
  readonly #directory: string
  readonly #id: string
  readonly #name: string

  constructor(directory: string, id: string) {
    this.#directory = directory
    this.#id = id
    this.#name = `${id}.${randomBytes(6).toString('hex')}`
  }

  async take(kind: HoldKind): Promise<boolean> {
    for (const name of await this.#others()) {
      const path = join(this.#directory, name)
      const [, theirs, mark = ''] = /^(\w+) (.*)$/s.exec(await readFile(path, 'utf8')) ?? []
      if (!isAlive(mark)) await rm(path, { force: true })
      else if (kind === 'exclusive' || theirs === 'exclusive') return false
    }
    await writeFile(join(this.#directory, this.#name), `${kind} ${processMark()}`, { mode: 0o600 })
    return true
  }

  async clear(): Promise<void> {}

  async leave(): Promise<void> {
    await rm(join(this.#directory, this.#name), { force: true })
  }

  async #others(): Promise<string[]> {
    const names = await readdir(this.#directory)
    return names.filter(
      (name) =>
        name !== this.#name && name.startsWith(`${this.#id}.`) && SUFFIX.test(name.slice(this.#id.length)),
    )
  }
}

const SUFFIX = /^\.[a-f0-9]{12}$/
