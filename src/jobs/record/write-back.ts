import { closeSync, openSync } from 'node:fs'
import { libcAvailable } from '../../sys/libc.js'
import { syncfsElsewhere } from '../../sys/syncfs.js'

const AT_A_TIME = 32 << 20

/**
 * Lets the system write to disk what is being made, from time to time and while it is being made, so that the sync at the
 * end finds little left to do. The system tells once of what it could not write: whoever hears it here must fail.
 */
export class WriteBack {
  readonly #fd: number | undefined
  #since = 0
  #underWay: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  /** @param path anything on the file system; nothing is done where there is no call for that */
  constructor(path: string) {
    this.#fd = libcAvailable().works ? openSync(path, 'r') : undefined
  }

  /** So many bytes more were made. Throws if some before them could not be written. */
  made(bytes: number): void {
    if (this.#failure !== undefined) throw this.#failure.error
    this.#since += bytes
    if (this.#fd === undefined || this.#since < AT_A_TIME || this.#underWay !== undefined) return
    this.#since = 0
    this.#underWay = this.#write(this.#fd)
  }

  /** Waits for what is under way. */
  async end(): Promise<void> {
    await this.#underWay
    if (this.#fd !== undefined) closeSync(this.#fd)
    if (this.#failure !== undefined) throw this.#failure.error
  }

  async #write(fd: number): Promise<void> {
    try {
      await syncfsElsewhere(fd)
    } catch (error) {
      this.#failure = { error }
    }
    this.#underWay = undefined
  }
}
