import { closeSync, openSync } from 'node:fs'
import { libcAvailable } from '../../sys/libc.js'
import { syncfsElsewhere } from '../../sys/syncfs.js'

const AT_A_TIME = 32 << 20

/**
 * Starts write-back of new data from time to time while more is made, so the final sync has little left to do. The
 * kernel reports a write-back error once; seeing it here must fail the job.
 */
export class WriteBack {
  readonly #fd: number | undefined
  #since = 0
  #underWay: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  /** @param path any path on the file system; without koffi nothing is written back early */
  constructor(path: string) {
    this.#fd = libcAvailable().works ? openSync(path, 'r') : undefined
  }

  /** Reports that `bytes` more bytes were written. Throws if an earlier write-back failed. */
  made(bytes: number): void {
    if (this.#failure !== undefined) throw this.#failure.error
    this.#since += bytes
    if (this.#fd === undefined || this.#since < AT_A_TIME || this.#underWay !== undefined) return
    this.#since = 0
    this.#underWay = this.#write(this.#fd)
  }

  /** Waits for the write-back in progress. Throws if any write-back failed. */
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
