import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Which layers had their directory on the host handed out: programs may hold it open for as long as it exists, and
 * unlike a mount it cannot be taken back. The record outlives this process, as such programs do.
 */
export class HandedOut {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  mark(id: string): void {
    if (this.has(id)) return
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 })
    writeFileSync(join(this.#directory, id), '', { mode: 0o600 })
  }

  has(id: string): boolean {
    return existsSync(join(this.#directory, id))
  }

  /** The layer is gone. */
  forget(id: string): void {
    rmSync(join(this.#directory, id), { force: true })
  }
}
