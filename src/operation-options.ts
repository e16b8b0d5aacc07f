import type { ProgressListener } from './progress.js'

/** Options that every long call accepts. */
export interface OperationOptions {
  /**
   * Aborting rejects the call with the signal's reason and leaves the store as it was. `prune` and `check` keep what
   * they have done by then.
   */
  readonly signal?: AbortSignal | undefined
  /**
   * Called on the caller's thread, at most a few tens of times per second for each layer. An error that it throws
   * rejects the call.
   */
  readonly onProgress?: ProgressListener | undefined
}
