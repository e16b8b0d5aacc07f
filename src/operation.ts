import type { ProgressListener } from './progress.js'

/** What every long call takes. */
export interface OperationOptions {
  /** Aborting rejects the call with the signal's reason and leaves the store as it was. */
  readonly signal?: AbortSignal | undefined
  /** Called on the caller's thread, at most some tens of times a second for each layer. */
  readonly onProgress?: ProgressListener | undefined
}

/** Steps to take back, newest first, unless the work that needed them was finished. */
export class Rollback {
  readonly #steps: (() => unknown)[] = []

  onFailure(undo: () => unknown): void {
    this.#steps.push(undo)
  }

  /** Runs `work`; if it fails, takes back all that was noted, and rejects with the first error. */
  static async guard<T>(work: (rollback: Rollback) => Promise<T>): Promise<T> {
    const rollback = new Rollback()
    try {
      return await work(rollback)
    } catch (error) {
      await rollback.#undo()
      throw error
    }
  }

  async #undo(): Promise<void> {
    for (const step of this.#steps.toReversed()) {
      try {
        await step()
      } catch {
        // The first error is the one to report; what is left behind is unnamed, and the next open clears it.
      }
    }
  }
}
