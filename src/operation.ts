import { setImmediate } from 'node:timers/promises'
import pLimit from 'p-limit'
import type { ProgressListener } from './progress.js'

/** What every long call takes. */
export interface OperationOptions {
  /** Aborting rejects the call with the signal's reason and leaves the store as it was. */
  readonly signal?: AbortSignal | undefined
  /** Called on the caller's thread, at most some tens of times a second for each layer. */
  readonly onProgress?: ProgressListener | undefined
}

const FEW = 16

/** As `Promise.all` of a map, but a store may have thousands of anything, and a process a few hundred files open. */
export function fewAtATime<T, U>(items: Iterable<T>, work: (item: T) => Promise<U>): Promise<U[]> {
  return pLimit(FEW).map(items, work)
}

const SLICE_MS = 5

/**
 * Maps many items by work of microseconds each, in order. Yields every few milliseconds. For small files this is faster
 * than asynchronous reads, which cost several trips to the thread pool for each file.
 */
export async function inSlices<T, U>(items: Iterable<T>, work: (item: T) => U): Promise<U[]> {
  const results: U[] = []
  let end = Date.now() + SLICE_MS
  for (const item of items) {
    results.push(work(item))
    if (Date.now() < end) continue
    await setImmediate()
    end = Date.now() + SLICE_MS
  }
  return results
}

/** Steps to take back, newest first, unless the work that needed them was finished. */
export class Rollback {
  readonly #steps: (() => unknown)[] = []
  #abandoned = false

  onFailure(undo: () => unknown): void {
    this.#steps.push(undo)
  }

  /** From now on a failure takes nothing back: what was begun is to be finished later. */
  abandon(): void {
    this.#abandoned = true
  }

  /**
   * Runs `work`; if it fails, takes back all that was noted, and rejects with the first error.
   * @param onRemains told when something could not be taken back
   */
  static async guard<T>(work: (rollback: Rollback) => Promise<T>, onRemains?: () => void): Promise<T> {
    const rollback = new Rollback()
    try {
      return await work(rollback)
    } catch (error) {
      if (!(await rollback.#undo())) onRemains?.()
      throw error
    }
  }

  /** The first error is the one to report, so a step that fails tells no more than that. */
  async #undo(): Promise<boolean> {
    if (this.#abandoned) return false
    let isWhole = true
    for (const step of this.#steps.toReversed()) {
      try {
        await step()
      } catch {
        isWhole = false
      }
    }
    return isWhole
  }
}
