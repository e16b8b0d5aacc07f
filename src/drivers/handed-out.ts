import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Records which layers had their host directory handed out. Programs may keep it open for as long as it exists, and
 * unlike a mount it cannot be taken back. Those programs may outlive this process, so the record does too.
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

  /** Deletes the record, once the layer is removed. */
  forget(id: string): void {
    rmSync(join(this.#directory, id), { force: true })
  }
}
